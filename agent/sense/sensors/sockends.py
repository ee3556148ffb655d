"""Sockets as the kernel takes them apart: also those that came and went between two looks.

The kernel sends one message for each TCP or UDP socket of our network that it destroys, with both
ends and the cookie under which its table listed it, but without inode and user: who held it is no
longer known. Whether it does so for us is tried, never guessed from a version.

Source: the kernel's include/uapi/linux/sock_diag.h (SKNLGRP_INET_TCP_DESTROY and its sisters) and
net/core/sock_diag.c.
"""

import contextlib
import errno
import socket
import struct
from typing import ClassVar, Final

from msgspec import Struct

from agent.sense.sensors.inetdiag import (
    HEADER_BYTES,
    ID_AT,
    ID_END,
    MESSAGE_BYTES,
    NETLINK_SOCK_DIAG,
    DiagAnswer,
    DiagRefused,
    parse_message,
)
from agent.sense.sensors.sockrow import PROTOCOLS, SocketRow
from runtime.errors import Fault, VedetteError

DESTROY_EVENTS: Final = "destroy-events"
RECEIVE_BYTES: Final = 4096

_SO_RCVBUFFORCE: Final = 33
_GROUPS: Final = 0b1111  # TCP and UDP of IPv4, then of IPv6
_FROM_KERNEL: Final = 0
_LENGTH: Final = struct.Struct("=I")
_ATTRIBUTE: Final = struct.Struct("=HH")
_INET_DIAG_PROTOCOL: Final = 10
_NAMES: Final = {numbers: name for name, numbers in PROTOCOLS.items()}


class EndsRefused(VedetteError):
    """The kernel does not tell us of the sockets it destroys."""

    fault: ClassVar[Fault] = Fault.HOST


class Ended(Struct, frozen=True):
    """A socket that is no more: the table it was in, its key there, and its ends."""

    protocol: str
    key: bytes
    row: SocketRow


class EndsLost(Struct, frozen=True):
    """The kernel had more to tell than there was room for."""


class SocketEnds:
    """An open ear for the ends of sockets; it outlives the loss of every capability.

    Args:
        receive_buffer_bytes: what is asked for; without CAP_NET_ADMIN the system's limit is given.

    Raises:
        EndsRefused: the kernel tells us nothing; the message says how it put it.
    """

    def __init__(self, receive_buffer_bytes: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG)
        except OSError as error:
            raise EndsRefused(f"ended sockets: {error.strerror}") from error
        try:
            self._ask_for(receive_buffer_bytes)
            self._socket.bind((0, _GROUPS))
        except OSError as error:
            self._socket.close()
            raise EndsRefused(f"ended sockets: {error.strerror}") from error

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to tell; -1 if closed."""
        return self._socket.fileno()

    def receive(self, events_max: int) -> list[Ended | EndsLost]:
        """Return what is waiting, in order, without waiting; a loss stands where it was told of."""
        events: list[Ended | EndsLost] = []
        for _ in range(events_max if self.fileno() >= 0 else 0):
            try:
                data, sender = self._socket.recvfrom(RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                events.append(EndsLost())
                if error.errno != errno.ENOBUFS:
                    self.close()  # of no more use
                    break
                continue
            if sender[0] != _FROM_KERNEL:
                continue  # another program of this host, pretending
            with contextlib.suppress(DiagRefused):
                if ended := parse_ended(data):
                    events.append(ended)
        return events

    def close(self) -> None:
        """Close it; harmless when repeated."""
        self._socket.close()

    def _ask_for(self, receive_buffer_bytes: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)


def parse_ended(data: bytes) -> Ended | None:
    """Read one datagram; None for a socket of a protocol that we do not follow.

    Raises:
        DiagRefused: it is cut short or of another form.
    """
    for at in DiagAnswer(data).messages():
        began = at - HEADER_BYTES
        end = began + _LENGTH.unpack_from(data, began)[0]
        name = _NAMES.get((data[at], _protocol_of(data, at + MESSAGE_BYTES, end)))
        if name is None:
            return None
        row = parse_message(data[at : at + MESSAGE_BYTES], name)
        return Ended(name, data[at + ID_AT : at + ID_END], row)
    return None


def _protocol_of(data: bytes, at: int, end: int) -> int:
    """Return the protocol that an attribute names; -1 where none does."""
    while at + _ATTRIBUTE.size < end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size < length <= end - at:
            return -1
        if kind == _INET_DIAG_PROTOCOL:
            return data[at + _ATTRIBUTE.size]
        at += (length + 3) & ~3
    return -1
