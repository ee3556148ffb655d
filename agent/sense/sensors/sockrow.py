"""One socket, as every source of socket tables tells it.

An IPv4 address in IPv6 clothes (``::ffff:192.0.2.1``) is an IPv4 address here, because that is how
indicators and people write it; a listener on ``::`` stays what it is.
"""

import socket
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from proto.model import Endpoint

PROTOCOLS: Final[Mapping[str, tuple[int, int]]] = {
    "tcp": (socket.AF_INET, socket.IPPROTO_TCP),
    "tcp6": (socket.AF_INET6, socket.IPPROTO_TCP),
    "udp": (socket.AF_INET, socket.IPPROTO_UDP),
    "udp6": (socket.AF_INET6, socket.IPPROTO_UDP),
}

STATES: Final[Mapping[int, str]] = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
}

_CLOSE: Final = 7
_LISTEN: Final = 10
_MAPPED: Final = bytes(10) + b"\xff\xff"

End = tuple[bytes, int]


class SocketRow(Struct, frozen=True):
    """A socket: its ends, who opened it, and whether it waits for others to speak first."""

    endpoint: Endpoint
    uid: int
    inode: int
    is_listening: bool


def row_of(protocol: str, state: int, local: End, remote: End, owner: tuple[int, int]) -> SocketRow:
    """Build a row from what a source read.

    Args:
        protocol: a key of `PROTOCOLS`.
        state: of the kernel's TCP states; unknown ones keep their number.
        local: address of 4 or 16 bytes, and port.
        remote: as ``local``.
        owner: user number, and inode, 0 for a socket that no process holds.
    """
    mapped = local[0].startswith(_MAPPED) or remote[0].startswith(_MAPPED)
    if mapped:
        local, remote = (_unmapped(local), _unmapped(remote))
        protocol = protocol.removesuffix("6")
    # A datagram socket without a peer is the listener of its kind.
    is_listening = state == _LISTEN or (state == _CLOSE and protocol.startswith("udp"))
    uid, inode = owner
    endpoint = Endpoint(
        protocol=protocol,
        local_address=_text(local[0]),
        local_port=local[1],
        remote_address=None if is_listening else _text(remote[0]),
        remote_port=None if is_listening else remote[1],
        state=STATES.get(state, str(state)),
        inode=inode or None,
    )
    return SocketRow(endpoint=endpoint, uid=uid, inode=inode, is_listening=is_listening)


def _unmapped(end: End) -> End:
    address, port = end
    if len(address) == 16 and (address.startswith(_MAPPED) or not any(address)):
        return address[12:], port
    return end


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
