"""One DNS message, read strictly and no further than what was asked and what came back.

Names may be packed by pointing back into the message; a pointer must lead to before the name it is
part of, so none can lead in a circle. Authority and additional records are not read.

Source: RFC 1035 sections 3.1, 4.1; RFC 3596; RFC 2782; RFC 9460; RFC 4343 for the case of names.
"""

import socket
import struct
from typing import ClassVar, Final, NamedTuple

from agent.dnsframes import ANSWERS_MAX
from runtime.errors import Fault, VedetteError

NAME_BYTES_MAX: Final = 255
POINTERS_MAX: Final = 16

_HEADER: Final = struct.Struct(">HHHHHH")
_QUESTION: Final = struct.Struct(">HH")
_RECORD: Final = struct.Struct(">HHIH")
_IS_ANSWER: Final = 0x8000
_OPERATION: Final = 0x7800
_IS_CUT: Final = 0x0200
_CODE: Final = 0x000F
_POINTER: Final = 0xC0

_A, _NS, _CNAME, _PTR, _MX, _TXT, _AAAA, _SRV, _DNAME, _SVCB, _HTTPS = (
    1, 2, 5, 12, 15, 16, 28, 33, 39, 64, 65,
)  # fmt: skip
_NAMED: Final = frozenset({_NS, _CNAME, _PTR, _DNAME})
# Other records of which a name is told: the word, the numbers in front of the name.
_WORDED: Final = {
    _MX: ("MX", struct.Struct(">H")),
    _SRV: ("SRV", struct.Struct(">HHH")),
    _SVCB: ("SVCB", struct.Struct(">H")),
    _HTTPS: ("HTTPS", struct.Struct(">H")),
}


class BadMessage(VedetteError):
    """These bytes are not a DNS message that we read."""

    fault: ClassVar[Fault] = Fault.PEER


class Message(NamedTuple):
    """A question, and in an answer what came back as text.

    An address stands as it is, a name too; other records begin with their type. ``is_cut`` says
    that there were more answers than are here.
    """

    id: int
    is_answer: bool
    code: int
    name: str
    qtype: int
    answers: tuple[str, ...]
    is_cut: bool


def parse_message(data: bytes) -> Message:
    """Read one message.

    Args:
        data: a stranger's bytes, without the length that TCP puts in front.

    Raises:
        BadMessage: not a query or an answer to one question, or not well formed.
    """
    if len(data) < _HEADER.size:
        raise BadMessage("shorter than a header")
    number, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if flags & _OPERATION:
        raise BadMessage("not a query")
    if questions != 1:
        raise BadMessage("not one question")
    name, at = _name(data, _HEADER.size)
    if at + _QUESTION.size > len(data):
        raise BadMessage("the question is cut short")
    qtype, _ = _QUESTION.unpack_from(data, at)
    is_answer, is_cut = bool(flags & _IS_ANSWER), bool(flags & _IS_CUT)
    if not is_answer:
        return Message(number, is_answer, 0, name, qtype, (), is_cut)
    texts = _answers(data, at + _QUESTION.size, min(answers, ANSWERS_MAX), is_cut=is_cut)
    is_cut = is_cut or answers > ANSWERS_MAX
    return Message(number, is_answer, flags & _CODE, name, qtype, tuple(texts), is_cut)


def _answers(data: bytes, at: int, count: int, *, is_cut: bool) -> list[str]:
    texts: list[str] = []
    try:
        for _ in range(count):
            kind, at, end = _record(data, at)
            texts.append(_value(data, at, end - at, kind))
            at = end
    except BadMessage:
        if not is_cut:  # one that says so itself may end anywhere
            raise
    return texts


def _record(data: bytes, at: int) -> tuple[int, int, int]:
    """Return type, begin and end of what a record holds."""
    _, at = _name(data, at)
    begin = at + _RECORD.size
    kind, _, _, length = _RECORD.unpack_from(data, at) if begin <= len(data) else (0, 0, 0, 0)
    if begin + length > len(data):
        raise BadMessage("an answer is cut short")
    return kind, begin, begin + length


def _value(data: bytes, at: int, length: int, kind: int) -> str:
    """Return the text of one record."""
    raw = data[at : at + length]
    if kind == _A and length == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    if kind == _AAAA and length == 16:
        return socket.inet_ntop(socket.AF_INET6, raw)
    if kind in _NAMED:
        return _name_within(data, at, at + length)
    if kind in _WORDED:
        word, numbers = _WORDED[kind]
        if length <= numbers.size:
            raise BadMessage("an answer is cut short")
        told = " ".join(map(str, numbers.unpack_from(raw)))
        return f"{word} {told} {_name_within(data, at + numbers.size, at + length)}"
    if kind in {_A, _AAAA}:
        raise BadMessage("an address of another size")
    # What else a record holds is somebody's text or key: its size says enough.
    word = "TXT" if kind == _TXT else f"TYPE{kind}"
    return f"{word} {length} bytes"


def _name_within(data: bytes, at: int, end: int) -> str:
    name, after = _name(data, at)
    if after > end:
        raise BadMessage("a name runs beyond its record")
    return name


def _name(data: bytes, at: int) -> tuple[str, int]:
    """Return the name that begins at a place, and where what follows it begins."""
    labels: list[str] = []
    after, lowest, size, pointers = -1, at, 0, 0
    while True:
        if at >= len(data):
            raise BadMessage("a name is cut short")
        length = data[at]
        if length >= _POINTER:
            if at + 1 >= len(data):
                raise BadMessage("a name is cut short")
            target = (length & ~_POINTER) << 8 | data[at + 1]
            after = at + 2 if after < 0 else after
            pointers += 1
            if target >= lowest or pointers > POINTERS_MAX:
                raise BadMessage("a pointer that does not lead back")
            at = lowest = target
            continue
        if length > 63:
            raise BadMessage("a label of another kind")
        at += 1
        if length == 0:
            return ".".join(labels) or ".", at if after < 0 else after
        size += length + 1
        if size >= NAME_BYTES_MAX or at + length > len(data):
            raise BadMessage("a name is too long")
        labels.append(_label(data[at : at + length]))
        at += length


def _label(raw: bytes) -> str:
    r"""Return a label in lower case, with what is not a plain character as ``\DDD``."""
    if raw.isalnum():
        return raw.decode("ascii").lower()
    return "".join(map(_character, raw.lower()))


def _character(byte: int) -> str:
    if 0x21 <= byte <= 0x7E and byte not in b'."\\':
        return chr(byte)
    return f"\\{byte:03d}"
