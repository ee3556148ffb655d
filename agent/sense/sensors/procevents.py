"""Messages of the kernel's process events connector, and the filter that thins them out.

Pure on bytes. Times are nanoseconds of the monotonic clock, as the kernel stamps them.
Source: the kernel's include/uapi/linux/{connector.h,cn_proc.h,filter.h}.
"""

import socket
import struct
from typing import Final

from msgspec import Struct

from agent.sense.sensors.procfs import ProcError

CN_IDX_PROC: Final = 1
LISTEN: Final = 1
IGNORE: Final = 2

_NLMSG_DONE: Final = 3
_WHAT_ACK: Final = 0
_WHAT_FORK: Final = 0x1
_WHAT_EXEC: Final = 0x2
_WHAT_EXIT: Final = 0x80000000

# nlmsghdr, cn_msg, operation
_REQUEST: Final = struct.Struct("=IHHII" + "IIIIHH" + "I")
# nlmsghdr, cn_msg, then of proc_event: what, cpu, time
_HEADER: Final = struct.Struct("=IHHII" + "IIIIHH" + "IIQ")
_TWO: Final = struct.Struct("=II")
_FOUR: Final = struct.Struct("=IIII")
_ERROR: Final = struct.Struct("=I")

_AT_WHAT: Final = 36
_AT_DATA: Final = _HEADER.size


class Fork(Struct, frozen=True):
    """A process (not a thread) came to be."""

    pid: int
    ppid: int
    at: int


class Exec(Struct, frozen=True):
    """A process runs a new image."""

    pid: int
    at: int


class Exit(Struct, frozen=True):
    """A process ended, with its last thread."""

    pid: int
    at: int


class Ack(Struct, frozen=True):
    """An answer to a request, ours or another's; ``error`` is an errno, 0 for yes."""

    error: int
    number: int


class Lost(Struct, frozen=True):
    """The kernel had events and no room for them: their number is not known."""

    at: int


Event = Fork | Exec | Exit | Ack | Lost


def request(operation: int, number: int = 0) -> bytes:
    """Return the message that asks for events (`LISTEN`) or for their end (`IGNORE`).

    Args:
        operation: what is asked.
        number: comes back in the `Ack`; below 2**32.
    """
    size = _REQUEST.size
    return _REQUEST.pack(size, _NLMSG_DONE, 0, 0, 0, CN_IDX_PROC, 1, 0, number, 4, 0, operation)


def parse_event(data: bytes | memoryview) -> Event | None:
    """Read one message; None for an event that is not one of ours.

    Raises:
        ProcError: this is not a message of the connector.
    """
    try:
        header = _HEADER.unpack_from(data)
        if header[5] != CN_IDX_PROC:
            raise ProcError("not a process event")
        what, at = header[11], header[13]
        if what == _WHAT_EXEC:
            return Exec(pid=_TWO.unpack_from(data, _AT_DATA)[1], at=at)
        if what == _WHAT_FORK:
            _, ppid, thread, pid = _FOUR.unpack_from(data, _AT_DATA)
            return Fork(pid=pid, ppid=ppid, at=at) if thread == pid else None
        if what == _WHAT_EXIT:
            thread, pid = _TWO.unpack_from(data, _AT_DATA)
            return Exit(pid=pid, at=at) if thread == pid else None
        if what == _WHAT_ACK:
            return Ack(
                error=_ERROR.unpack_from(data, _AT_DATA)[0], number=(header[8] - 1) & 0xFFFFFFFF
            )
    except struct.error as error:
        raise ProcError("a process event is cut short") from error
    return None


def socket_filter(*, exits: bool) -> bytes:
    """Return the packet filter program that lets only processes (not threads) wake us.

    Args:
        exits: whether the end of a process is wanted too.
    """
    load, load_to_x, equal_k, equal_x, give = 0x20, 0x07, 0x15, 0x1D, 0x06
    same = _AT_DATA  # of a fork the child's thread and process, of an exit the thread and process
    to_exit = 4 if exits else 8
    program = (
        (load, 0, 0, _AT_WHAT),
        (equal_k, 12, 0, socket.htonl(_WHAT_EXEC)),
        (equal_k, 11, 0, socket.htonl(_WHAT_ACK)),
        (equal_k, 1, 0, socket.htonl(_WHAT_FORK)),
        (equal_k, to_exit, 8, socket.htonl(_WHAT_EXIT)),
        (load, 0, 0, same + 12),
        (load_to_x, 0, 0, 0),
        (load, 0, 0, same + 8),
        (equal_x, 5, 4, 0),
        (load, 0, 0, same + 4),
        (load_to_x, 0, 0, 0),
        (load, 0, 0, same),
        (equal_x, 1, 0, 0),
        (give, 0, 0, 0),
        (give, 0, 0, 0xFFFFFFFF),
    )
    return b"".join(struct.pack("=HBBI", *step) for step in program)
