"""What the unit that sees DNS packets says to `sense`: three frames, packed by hand.

The unit stays small, so nothing is imported here that it could do without. `sense` believes none of
it: a frame that is not exactly of this form is refused, and what it says is what a stranger's
packet said.
"""

import struct
from typing import Final, NamedTuple

from agent.errors import DoorError

FRAME_BYTES_MAX: Final = 64 * 1024
VERSION: Final = 1
# 255 bytes of a name, each of which may take four characters, and the numbers before it.
NAME_CHARS_MAX: Final = 1100
ANSWERS_MAX: Final = 32
COUNT_MAX: Final = 2**32 - 1

_HELLO: Final = struct.Struct(">BB")
_LOST: Final = struct.Struct(">BIII")
# Kind, flags, code, id, type asked for, ports and addresses of who asks and who answers, answers.
_SEEN: Final = struct.Struct(">BBBHHHH16s16sB")
_LENGTH: Final = struct.Struct(">H")
_IS_ANSWER, _IS_TCP, _IS_IPV6, _IS_LOOPBACK, _IS_OUTGOING, _IS_CUT = (1 << bit for bit in range(6))
_FLAGS: Final = (1 << 6) - 1
_CODE_MAX: Final = 15


class DnsHello(NamedTuple):
    """The unit has begun."""

    version: int = VERSION


class DnsLost(NamedTuple):
    """What the unit did not see: dropped by the kernel, not readable, or more than it may tell."""

    dropped: int
    unreadable: int
    omitted: int


class DnsSeen(NamedTuple):
    """One message between who asks (client) and who answers (server).

    ``answers`` are text; ``is_cut`` says that there were more. ``is_outgoing`` and ``is_loopback``
    tell how the packet passed this host.
    """

    is_answer: bool
    is_tcp: bool
    is_loopback: bool
    is_outgoing: bool
    is_cut: bool
    code: int
    id: int
    qtype: int
    client: bytes
    client_port: int
    server: bytes
    server_port: int
    name: str
    answers: tuple[str, ...]


def encode_dns(frame: DnsHello | DnsLost | DnsSeen) -> bytes:
    """Return a frame's bytes, without the length in front."""
    if isinstance(frame, DnsHello):
        return _HELLO.pack(0, frame.version)
    if isinstance(frame, DnsLost):
        return _LOST.pack(1, *(min(count, COUNT_MAX) for count in frame))
    flags = (
        frame.is_answer * _IS_ANSWER
        | frame.is_tcp * _IS_TCP
        | (len(frame.client) > 4) * _IS_IPV6
        | frame.is_loopback * _IS_LOOPBACK
        | frame.is_outgoing * _IS_OUTGOING
        | frame.is_cut * _IS_CUT
    )
    ports = frame.client_port, frame.server_port
    head = _SEEN.pack(
        2, flags, frame.code, frame.id, frame.qtype, *ports, frame.client, frame.server,
        len(frame.answers),
    )  # fmt: skip
    return head + b"".join(map(_packed, (frame.name, *frame.answers)))


def decode_dns(data: bytes) -> DnsHello | DnsLost | DnsSeen:
    """Decode what the unit sent; untrusted.

    Raises:
        DoorError: not one of the frames.
    """
    kind = data[0] if data else -1
    if kind == 0 and len(data) == _HELLO.size:
        return DnsHello(data[1])
    if kind == 1 and len(data) == _LOST.size:
        return DnsLost(*_LOST.unpack(data)[1:])
    if kind == 2 and len(data) >= _SEEN.size:
        return _seen(data)
    raise DoorError("not a frame of the DNS unit")


def _seen(data: bytes) -> DnsSeen:
    _, flags, code, number, qtype, client_port, server_port, client, server, count = (
        _SEEN.unpack_from(data)
    )
    if flags & ~_FLAGS or code > _CODE_MAX or count > ANSWERS_MAX:
        raise DoorError("a frame of the DNS unit is beyond its bounds")
    size = 16 if flags & _IS_IPV6 else 4
    if any(client[size:]) or any(server[size:]):
        raise DoorError("a frame of the DNS unit has an impossible address")
    name, *answers = _texts(data, _SEEN.size, count + 1)
    return DnsSeen(
        is_answer=bool(flags & _IS_ANSWER),
        is_tcp=bool(flags & _IS_TCP),
        is_loopback=bool(flags & _IS_LOOPBACK),
        is_outgoing=bool(flags & _IS_OUTGOING),
        is_cut=bool(flags & _IS_CUT),
        code=code,
        id=number,
        qtype=qtype,
        client=client[:size],
        client_port=client_port,
        server=server[:size],
        server_port=server_port,
        name=name,
        answers=tuple(answers),
    )


def _packed(text: str) -> bytes:
    raw = text.encode("ascii")
    return _LENGTH.pack(len(raw)) + raw


def _texts(data: bytes, at: int, count: int) -> list[str]:
    """Read so many printable texts that fill the rest of a frame."""
    texts = []
    for _ in range(count):
        begin = at + _LENGTH.size
        if begin > len(data):
            raise DoorError("a frame of the DNS unit is cut short")
        (length,) = _LENGTH.unpack_from(data, at)
        at = begin + length
        raw = data[begin:at]
        text = raw.decode("ascii", "replace")
        if len(raw) != length or not 0 < length <= NAME_CHARS_MAX or not text.isprintable():
            raise DoorError("a frame of the DNS unit has a bad name")
        if "\N{REPLACEMENT CHARACTER}" in text:
            raise DoorError("a frame of the DNS unit has a bad name")
        texts.append(text)
    if at != len(data):
        raise DoorError("a frame of the DNS unit has more than it says")
    return texts
