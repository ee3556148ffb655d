"""Who a process is: everything /proc says of it, read at once through one held directory.

What vanishes first is read first: the image and the arguments go with the last thread, the rest
when the parent has waited. What may not be read is `UNSET`; what was read and is not there (the
executable of a kernel thread, the container of a plain process) is None.
"""

from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.accounts import Accounts
from agent.sense.sensors.cgroups import CGROUP_BYTES_MAX, Belonging, parse_cgroup
from agent.sense.sensors.images import Image, Images
from agent.sense.sensors.procdir import Proc, ProcDir
from agent.sense.sensors.procfs import (
    NS_PER_TICK,
    STAT_BYTES_MAX,
    STATUS_BYTES_MAX,
    ProcError,
    ProcStat,
    parse_arguments,
    parse_ids,
    parse_stat,
    terminal,
)
from proto.model import Process, User
from runtime.clock import Clock

PATH_CHARS_MAX: Final = 8192
BELONGINGS_MAX: Final = 1024
BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"

GONE: Final = "ended before it was read"
DELETED: Final = "deleted"
DELETED_OR_SO_NAMED: Final = "deleted or so named"
MEMFD: Final = "memfd"
KERNEL_THREAD: Final = "kernel thread"
FOREIGN: Final = "foreign pid namespace"
START_UNKNOWN: Final = "start unknown"

_DELETED_SUFFIX: Final = b" (deleted)"
_MEMFD_PREFIX: Final = b"/memfd:"


class Birth(Struct, frozen=True):
    """What the kernel told when the process came to be; ``start`` in nanoseconds since boot."""

    ppid: int
    start: int


class Sight(Struct, frozen=True):
    """A process as it was read, and its image where one was asked for and could be had."""

    process: Process
    image: Image | None = None


class ProcessReader:
    """Reads processes.

    Args:
        host: where /proc and the accounts are.
        clock: paces the re-reading of accounts.
        argv_bytes_max: arguments beyond it are cut.

    Raises:
        HostFileError: the host has no /proc where we look.
    """

    def __init__(self, host: HostRoot, clock: Clock, *, argv_bytes_max: int) -> None:
        self.proc = Proc(host)
        self.images = Images()
        self._accounts = Accounts(host, clock)
        self._argv_bytes_max = argv_bytes_max
        self._belongings: dict[bytes, Belonging] = {}
        # The process numbers are not the host's own: every process says so.
        self.is_foreign = False
        self.boot_id = _boot_id(host)

    def close(self) -> None:
        """Let go of /proc; harmless when repeated."""
        self.proc.close()

    def stat(self, pid: int) -> ProcStat | None:
        """Return the little that tells whether a process is still the same; None if it ended."""
        try:
            with self.proc.process(pid) as entry:
                return parse_stat(entry.read("stat", STAT_BYTES_MAX))
        except (OSError, ProcError):
            return None

    def read(
        self,
        pid: int,
        *,
        with_image: bool = False,
        birth: Birth | None = None,
        before: int | None = None,
    ) -> Sight | None:
        """Return what can be read of a process; None when nothing is left of it.

        Args:
            pid: in the numbers of this /proc.
            with_image: hold its executable too, which the caller closes.
            birth: what is known of its start, for one that may end while it is read.
            before: the process that is meant had started by then (nanoseconds since boot); a
                later one has only inherited the number.
        """
        try:
            with self.proc.process(pid) as entry:
                image = self._image(entry) if with_image else None
                process = self._process(entry, image, birth)
        except OSError:
            return None
        if process is None or (before is not None and process.start > before + NS_PER_TICK):
            if image is not None:
                image.close()
            return None
        return Sight(process, image)

    def unread(self, pid: int, birth: Birth | None, at: int) -> Process:
        """Return what can be said of a process that ended before it was read.

        Args:
            pid: as the kernel told it.
            birth: what it told before; None if nothing.
            at: when it was last known to run, in nanoseconds since boot.
        """
        if birth is None:
            return Process(boot_id=self.boot_id, pid=pid, start=at, caveats=(GONE, START_UNKNOWN))
        return Process(
            boot_id=self.boot_id, pid=pid, start=birth.start, ppid=birth.ppid, caveats=(GONE,)
        )

    def _image(self, entry: ProcDir) -> Image | None:
        try:
            return self.images.open(entry)
        except OSError:
            return None

    def _process(self, entry: ProcDir, image: Image | None, birth: Birth | None) -> Process | None:
        argv = self._argv(entry)
        cwd = _path(entry, b"cwd")
        stat = _stat(entry)
        if stat is None and birth is None:
            return None
        caveats = [FOREIGN] if self.is_foreign else []
        user, effective = self._users(entry)
        belonging = self._belonging(entry)
        exe = _executable(entry, image, stat, caveats)
        if stat is None or (stat.is_zombie and not argv):
            caveats.append(GONE)
        return Process(
            boot_id=self.boot_id,
            pid=entry.pid,
            start=stat.start if stat else birth.start if birth else 0,
            ppid=stat.ppid if stat else birth.ppid if birth else UNSET,
            name=stat.name if stat else UNSET,
            exe=exe,
            cwd=cwd,
            argv=argv,
            user=user,
            effective_user=effective,
            session=UNSET if stat is None or stat.session is None else stat.session,
            tty=terminal(stat.tty) if stat else UNSET,
            container=belonging.container if belonging else UNSET,
            unit=belonging.unit if belonging else UNSET,
            caveats=tuple(caveats),
        )

    def _argv(self, entry: ProcDir) -> tuple[str, ...]:
        try:
            data = entry.read("cmdline", self._argv_bytes_max + 1)
        except OSError:
            return ()
        return parse_arguments(data, self._argv_bytes_max)

    def _users(self, entry: ProcDir) -> tuple[User | UnsetType, User | UnsetType]:
        try:
            ids = parse_ids(entry.read("status", STATUS_BYTES_MAX))
        except (OSError, ProcError):
            return UNSET, UNSET
        return self._accounts.user(ids.uid), self._accounts.user(ids.euid)

    def _belonging(self, entry: ProcDir) -> Belonging | None:
        """Read the groups; few of them differ, so what they mean is remembered by their bytes."""
        try:
            data = entry.read("cgroup", CGROUP_BYTES_MAX)
            if (known := self._belongings.get(data)) is not None:
                return known
            belonging = parse_cgroup(data)
        except (OSError, ProcError):
            return None
        if len(self._belongings) >= BELONGINGS_MAX:
            self._belongings.clear()
        self._belongings[data] = belonging
        return belonging


def _stat(entry: ProcDir) -> ProcStat | None:
    try:
        return parse_stat(entry.read("stat", STAT_BYTES_MAX))
    except (OSError, ProcError):
        return None


def _path(entry: ProcDir, name: bytes) -> str | UnsetType:
    try:
        return host_text(entry.link(name), PATH_CHARS_MAX)
    except OSError:
        return UNSET


def _executable(
    entry: ProcDir, image: Image | None, stat: ProcStat | None, caveats: list[str]
) -> str | UnsetType | None:
    """Return the path of the image as the kernel tells it, and add what is odd about it."""
    if stat is not None and stat.is_kernel_thread:
        caveats.append(KERNEL_THREAD)
        return None
    try:
        raw = image.path() if image else entry.link(b"exe")
    except OSError:
        return UNSET
    if not raw.endswith(_DELETED_SUFFIX):
        return host_text(raw, PATH_CHARS_MAX)
    if image is None or not image.is_deleted:
        caveats.append(DELETED_OR_SO_NAMED)
        return host_text(raw, PATH_CHARS_MAX)
    caveats.append(MEMFD if raw.startswith(_MEMFD_PREFIX) else DELETED)
    return host_text(raw.removesuffix(_DELETED_SUFFIX), PATH_CHARS_MAX)


def _boot_id(host: HostRoot) -> bytes:
    try:
        text = host.read_bytes(BOOT_ID, 64).decode("ascii")
        return bytes.fromhex(text.strip().replace("-", ""))[:16].ljust(16, b"\0")
    except (HostFileError, ValueError):
        return bytes(16)
