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

# nlmsghdr, then inet_diag_req_v2: family, protocol, extensions, pad, states, and an empty id.
_REQUEST: Final = struct.Struct("=IHHII" + "BBBBI" + "48x")
_HEADER: Final = struct.Struct("=IHHII")
_ERROR: Final = struct.Struct("=i")
# inet_diag_msg: family, state, timer, retrans, ports (of the wire), addresses, interface, cookie,
# expires, receive queue, send queue, user, inode.
_MESSAGE: Final = struct.Struct("=BBBB" + "2s2s16s16s" + "IQ" + "IIIII")
_ID_AT: Final = 4
_ID_END: Final = 52

# SYN_RECV (3) is left out: a flood of half-open connections is no news about this host.
_STATE_MASK: Final = sum(1 << state for state in STATES if state != 3)


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

    def sweep(self, protocol: str, sweep: Sweep) -> None:
        """Sweep the table of ``protocol``.

        A socket's key holds the kernel's cookie for it, so that the connection that lingers in
        TIME_WAIT is still the one that was open before.

        Raises:
            DiagRefused: the kernel does not give this table.
        """
        try:
            for answer in self._dump(*PROTOCOLS[protocol]):
                data = answer.data
                for at in answer.messages():
                    if sweep.is_news(data[at + _ID_AT : at + _ID_END]):
                        sweep.new.append(parse_message(data[at : at + _MESSAGE.size], protocol))
                if answer.is_torn:
                    sweep.keep_all_known()
        except OSError as error:
            raise DiagRefused(f"sock_diag: {error.strerror or 'no answer'}") from error

    def _dump(self, family: int, protocol: int) -> Iterator[DiagAnswer]:
        self._socket.send(request(family, protocol))
        while True:
            data, sender = self._socket.recvfrom(RECEIVE_BYTES)
            if sender[0] != _FROM_KERNEL:
                continue  # another program of this host, pretending
            answer = DiagAnswer(data)
            yield answer
            if answer.is_last:
                return


def request(family: int, protocol: int) -> bytes:
    """Return the request for one table."""
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    return _REQUEST.pack(
        _REQUEST.size, _SOCK_DIAG_BY_FAMILY, flags, 0, 0, family, protocol, 0, 0, _STATE_MASK
    )


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
