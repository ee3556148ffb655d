"""What the files of /proc/PID say, from their bytes alone.

Any bytes give a value or `ProcError`. Process names and arguments belong to whoever runs the
process: a name may hold ``)`` and newlines, arguments may be anything.

Source: proc(5).
"""

import re
from collections.abc import Iterable
from typing import ClassVar, Final

from msgspec import Struct

from agent.hosttext import CUT, host_text
from runtime.errors import Fault, VedetteError

NS_PER_TICK: Final = 10_000_000  # the kernel's USER_HZ is 100 on every architecture we build for
NAME_CHARS_MAX: Final = 64
ARGUMENTS_MAX: Final = 512
STAT_BYTES_MAX: Final = 4096
STATUS_BYTES_MAX: Final = 8192

_KERNEL_THREAD: Final = 0x00200000  # PF_KTHREAD
_ID_MAX: Final = (1 << 32) - 1
_ID_DIGITS_MAX: Final = 10
_UIDS: Final = re.compile(rb"^Uid:\t(\d{1,10})\t(\d{1,10})\t", re.MULTILINE)
_SOCKET: Final = re.compile(rb"socket:\[(\d{1,19})\]")
_PTS_MAJORS: Final = range(136, 144)
_TTY_MAJOR: Final = 4
_SERIAL_FROM: Final = 64


class ProcError(VedetteError):
    """Bytes of /proc are not what the kernel writes."""

    fault: ClassVar[Fault] = Fault.HOST


class ProcStat(Struct, frozen=True):
    """The fields of /proc/PID/stat that we use.

    ``start`` is in nanoseconds since boot, exact to 10 ms; ``session`` is None for a process that
    is past having one; ``tty`` is the device number, 0 for none.
    """

    pid: int
    name: str
    state: str
    ppid: int
    session: int | None
    tty: int
    flags: int
    start: int

    @property
    def is_kernel_thread(self) -> bool:
        """A thread of the kernel: it has no executable, and no process can claim to be one."""
        return bool(self.flags & _KERNEL_THREAD)

    @property
    def is_zombie(self) -> bool:
        """Dead and not yet waited for: nothing but this file is left of it."""
        return self.state in {"Z", "X"}


class ProcIds(Struct, frozen=True):
    """Real and effective user of /proc/PID/status."""

    uid: int
    euid: int


def parse_stat(data: bytes) -> ProcStat:
    """Read /proc/PID/stat.

    The name ends at the last ``)``, because it may hold that character itself.

    Raises:
        ProcError: these are not its bytes.
    """
    head, opened, rest = data.partition(b"(")
    name, closed, tail = rest.rpartition(b")")
    fields = tail[:STAT_BYTES_MAX].split()
    try:
        pid, session = int(head), int(fields[3])
        stat = ProcStat(
            pid=pid,
            name=host_text(name, NAME_CHARS_MAX),
            state=fields[0].decode("ascii"),
            ppid=int(fields[1]),
            session=session if session >= 0 else None,
            tty=int(fields[4]) & _ID_MAX,
            flags=int(fields[6]),
            start=int(fields[19]) * NS_PER_TICK,
        )
    except (ValueError, IndexError) as error:
        raise ProcError("not a stat of /proc") from error
    in_range = 0 < pid <= _ID_MAX and 0 <= stat.ppid <= _ID_MAX and session <= _ID_MAX
    if not (opened and closed and in_range and 0 <= stat.start < 1 << 63):
        raise ProcError("not a stat of /proc")
    return stat


def parse_ids(data: bytes) -> ProcIds:
    """Read the users of /proc/PID/status.

    Raises:
        ProcError: it has no such line.
    """
    # The name is the first line, escaped by the kernel, so no process can forge a second one.
    found = _UIDS.search(data)
    if not found:
        raise ProcError("no users in a status of /proc")
    uid, euid = int(found[1]), int(found[2])
    if max(uid, euid) > _ID_MAX:
        raise ProcError("no users in a status of /proc")
    return ProcIds(uid=uid, euid=euid)


def parse_login(data: bytes) -> int | None:
    """Read /proc/PID/loginuid: who logged in, whatever became of him; None where nobody did.

    Raises:
        ProcError: these are not its bytes.
    """
    if not data.isdigit() or len(data) > _ID_DIGITS_MAX or int(data) > _ID_MAX:
        raise ProcError("not a login of /proc")
    return None if int(data) == _ID_MAX else int(data)


def parse_arguments(data: bytes, bytes_max: int) -> tuple[str, ...]:
    """Read /proc/PID/cmdline; `CUT` at the end says that there was more.

    Trailing empty arguments are not kept: a process that writes a title over its arguments leaves
    NULs behind it.

    Args:
        data: the file, or its first part.
        bytes_max: how much of it may become arguments, and of how many characters they may be
            together: what is not UTF-8 takes four for a byte.
    """
    kept = data[:bytes_max].rstrip(b"\0")
    if not kept:
        return ()
    raw = kept.split(b"\0", ARGUMENTS_MAX)
    is_cut = len(data) > bytes_max or len(raw) > ARGUMENTS_MAX
    arguments = [host_text(argument, bytes_max) for argument in raw[: ARGUMENTS_MAX - is_cut]]
    if not kept.isascii():
        arguments = within(arguments, bytes_max)
        is_cut = is_cut and arguments[-1] != CUT
    return (*arguments, CUT) if is_cut else tuple(arguments)


def within(arguments: Iterable[str], chars_max: int) -> list[str]:
    """Return arguments up to a number of characters together, then `CUT` if there are more."""
    kept: list[str] = []
    for argument in arguments:
        chars_max -= len(argument)
        if chars_max < 0:
            return [*kept[: ARGUMENTS_MAX - 1], CUT]
        kept.append(argument)
    return kept


def parse_socket(link: bytes) -> int | None:
    """Return the inode of the socket that a descriptor's link names; None for other files."""
    found = _SOCKET.fullmatch(link)
    return int(found[1]) if found else None


def terminal(device: int) -> str | None:
    """Return the name below /dev of a controlling terminal; None for none."""
    if not device:
        return None
    major = device >> 8 & 0xFFF
    minor = device & 0xFF | device >> 12 & 0xFFF00
    if major in _PTS_MAJORS:
        return f"pts/{(major - _PTS_MAJORS.start) * 256 + minor}"
    if major == _TTY_MAJOR:
        return f"tty{minor}" if minor < _SERIAL_FROM else f"ttyS{minor - _SERIAL_FROM}"
    return f"{major}:{minor}"
