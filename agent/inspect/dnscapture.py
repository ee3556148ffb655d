"""The packet socket: opened with its filter locked, before anything else, and never bound.

Unbound it has no interface to send through, and the calls that could name one are taken away by the
process that reads it. It hears every interface of its network namespace.

Source: packet(7), socket(7) (SO_LOCK_FILTER).
"""

import ctypes
import socket
import struct
from typing import ClassVar, Final, NamedTuple

from agent.inspect.dnsfilter import dns_filter
from runtime.errors import Fault, VedetteError

RECEIVE_BUFFER_BYTES: Final = 1 << 20
PACKET_BYTES_MAX: Final = 64 * 1024

_ETH_P_ALL: Final = 3
_SO_ATTACH_FILTER: Final = 26
_SO_LOCK_FILTER: Final = 44
_SO_RCVBUFFORCE: Final = 33
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_STATISTICS: Final = struct.Struct("=II")
_OUTGOING: Final = 4
_LOOPBACK: Final = 772


class NoCapture(VedetteError):
    """DNS packets cannot be seen here."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class Packet(NamedTuple):
    """A packet from its IP header on, and how it passed this host."""

    data: bytes
    is_outgoing: bool
    is_loopback: bool


def open_capture() -> socket.socket:
    """Return the socket, filtered for good, with nothing in it that came before the filter.

    Raises:
        NoCapture: the kernel gives us none.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        made = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
    except OSError as error:
        raise NoCapture(
            f"packet socket: {error.strerror}", hint="needs CAP_NET_RAW: start vedette-dns.service"
        ) from error
    try:
        _filter(made)
        _enlarge(made)
    except OSError as error:
        made.close()
        raise NoCapture(f"packet socket: {error.strerror}") from error
    _empty(made)
    return made


def receive(capture: socket.socket, buffer: bytearray) -> Packet | None:
    """Return the next packet; None where none is waiting.

    Raises:
        OSError: the socket is of no more use.
    """
    try:
        size, about = capture.recvfrom_into(buffer)
    except BlockingIOError:
        return None
    return Packet(bytes(memoryview(buffer)[:size]), about[2] == _OUTGOING, about[3] == _LOOPBACK)


def take_dropped(capture: socket.socket) -> int:
    """Return how many packets the kernel had no room for since this was asked last."""
    told = capture.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    return int(_STATISTICS.unpack(told)[1])


def _filter(made: socket.socket) -> None:
    program = dns_filter()
    held = ctypes.create_string_buffer(program, len(program))
    option = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
    made.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)


def _enlarge(made: socket.socket) -> None:
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:  # CAP_NET_ADMIN; the system's limit will do
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def _empty(made: socket.socket) -> None:
    """Take out what came in before the filter was there."""
    buffer = bytearray(1)
    while receive(made, buffer) is not None:
        pass
    take_dropped(made)
