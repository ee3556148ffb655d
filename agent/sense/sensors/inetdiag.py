"""The socket table as the kernel's sock_diag gives it: hand-packed requests, hand-read answers.

Source: the kernel's include/uapi/linux/{netlink.h,sock_diag.h,inet_diag.h}.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import ClassVar, Final

from agent.sense.sensors.sockrow import PROTOCOLS, STATES, SocketRow, row_of
from agent.sense.sensors.socksweep import Sweep
from runtime.errors import Fault, VedetteError

NETLINK_SOCK_DIAG: Final = 4
RECEIVE_BYTES: Final = 32_768
ANSWER_WAIT_S_MAX: Final = 2.0

_SOCK_DIAG_BY_FAMILY: Final = 20
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_DUMP: Final = 0x300
_FROM_KERNEL: Final = 0

# nlmsghdr, then inet_diag_req_v2: family, protocol, extensions, pad, states, and an id of which
# only the local port may be given.
_REQUEST: Final = struct.Struct("=IHHII" + "BBBBI" + "2s46x")
_HEADER: Final = struct.Struct("=IHHII")
HEADER_BYTES: Final = _HEADER.size
_ERROR: Final = struct.Struct("=i")
# inet_diag_msg: family, state, timer, retrans, ports (of the wire), addresses, interface, cookie,
# expires, receive queue, send queue, user, inode.
_MESSAGE: Final = struct.Struct("=BBBB" + "2s2s16s16s" + "IQ" + "IIIII")
MESSAGE_BYTES: Final = _MESSAGE.size
ID_AT: Final = 4  # where the ends and the cookie of a socket stand in it
ID_END: Final = 52

# SYN_RECV (3) is left out: a flood of half-open connections is no news about this host.
ALL_STATES: Final = sum(1 << state for state in STATES if state != 3)
# LISTEN, and CLOSE for a datagram socket without a peer.
LISTENING_STATES: Final = 1 << 10 | 1 << 7


class DiagRefused(VedetteError):
    """The kernel does not give this socket table; ``/proc/net`` may."""

    fault: ClassVar[Fault] = Fault.HOST


class DiagAnswer:
    """One datagram of a dump."""

    __slots__ = ("data", "is_last", "is_torn")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_last = False
        self.is_torn = False

    def messages(self) -> Iterator[int]:
        """Yield where each `inet_diag_msg` begins; then ``is_last`` and ``is_torn`` are true to it.

        Raises:
            DiagRefused: the kernel answers with an error, or not in its own form.
        """
        data, size, at = self.data, len(self.data), 0
        while at + _HEADER.size <= size:
            length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
            if not _HEADER.size <= length <= size - at:
                raise DiagRefused("sock_diag: a message is cut short")
            if flags & _NLM_F_DUMP_INTR:
                self.is_torn = True
            if kind == _SOCK_DIAG_BY_FAMILY:
                if length < _HEADER.size + _MESSAGE.size:
                    raise DiagRefused("sock_diag: a message is cut short")
                yield at + _HEADER.size
            elif kind == _NLMSG_DONE:
                self.is_last = True
                return
            elif kind == _NLMSG_ERROR:
                raise DiagRefused(
                    f"sock_diag: {_error_text(data[at + _HEADER.size : at + length])}"
                )
            at += (length + 3) & ~3


class InetDiag:
    """Socket tables over one netlink socket, opened for a snapshot and closed after it.

    Raises:
        DiagRefused: there is no such netlink family.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
            )
        except OSError as error:
            raise DiagRefused(f"sock_diag: {error.strerror}") from error
        self._socket.settimeout(ANSWER_WAIT_S_MAX)

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        self._socket.close()

    def sweep(self, protocol: str, sweep: Sweep, states: int = ALL_STATES) -> None:
        """Sweep the table of ``protocol``, or what of it is in one of ``states``.

        A socket's key holds the kernel's cookie for it, so that the connection that lingers in
        TIME_WAIT is still the one that was open before.

        Raises:
            DiagRefused: the kernel does not give this table.
        """
        try:
            for answer in self._dump(request(*PROTOCOLS[protocol], states)):
                data = answer.data
                for at in answer.messages():
                    key = data[at + ID_AT : at + ID_END]
                    if sweep.is_news(key):
                        sweep.tell(key, parse_message(data[at : at + _MESSAGE.size], protocol))
                if answer.is_torn:
                    sweep.keep_all_known()
        except OSError as error:
            raise DiagRefused(f"sock_diag: {error.strerror or 'no answer'}") from error

    def of_local_port(self, protocol: str, port: int) -> list[SocketRow]:
        """Return the sockets of ``protocol`` on a port of this host; the kernel picks them out.

        Raises:
            DiagRefused: the kernel does not give this table.
        """
        try:
            return [
                parse_message(answer.data[at : at + _MESSAGE.size], protocol)
                for answer in self._dump(request(*PROTOCOLS[protocol], ALL_STATES, port))
                for at in answer.messages()
            ]
        except OSError as error:
            raise DiagRefused(f"sock_diag: {error.strerror or 'no answer'}") from error

    def _dump(self, wanted: bytes) -> Iterator[DiagAnswer]:
        self._socket.send(wanted)
        while True:
            data, sender = self._socket.recvfrom(RECEIVE_BYTES)
            if sender[0] != _FROM_KERNEL:
                continue  # another program of this host, pretending
            answer = DiagAnswer(data)
            yield answer
            if answer.is_last:
                return


def request(family: int, protocol: int, states: int = ALL_STATES, port: int = 0) -> bytes:
    """Return the request for one table, or for what of it is on one local port."""
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    head = _REQUEST.size, _SOCK_DIAG_BY_FAMILY, flags, 0, 0
    return _REQUEST.pack(*head, family, protocol, 0, 0, states, port.to_bytes(2, "big"))


def parse_message(data: bytes, protocol: str) -> SocketRow:
    """Read one `inet_diag_msg`.

    Raises:
        DiagRefused: it is cut short or of another family.
    """
    try:
        fields = _MESSAGE.unpack_from(data)
    except struct.error as error:
        raise DiagRefused("sock_diag: a message is cut short") from error
    family, state = fields[0], fields[1]
    size = 4 if family == socket.AF_INET else 16
    return row_of(
        protocol,
        state,
        (fields[6][:size], int.from_bytes(fields[4], "big")),
        (fields[7][:size], int.from_bytes(fields[5], "big")),
        (fields[13], fields[14]),
    )


def _error_text(data: bytes) -> str:
    with contextlib.suppress(struct.error):
        return os.strerror(-_ERROR.unpack_from(data)[0])
    return "refused"
