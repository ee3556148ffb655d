"""Who a process is: everything /proc says of it, read at once through one held directory.

What vanishes first is read first: the image and the arguments go with the last thread, the rest
when the parent has waited. What may not be read is `UNSET`; what was read and is not there (the
executable of a kernel thread, the container of a plain process) is None.
"""

import errno
import os
from typing import Final

from msgspec import UNSET, Struct, UnsetType, structs

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.accounts import Accounts
from agent.sense.sensors.cgroups import CGROUP_BYTES_MAX, Belonging, parse_cgroup
from agent.sense.sensors.images import Image, Images
from agent.sense.sensors.interpreters import script_of
from agent.sense.sensors.procdir import Proc, ProcDir
from agent.sense.sensors.procfs import (
    NS_PER_TICK,
    STAT_BYTES_MAX,
    STATUS_BYTES_MAX,
    ProcError,
    ProcStat,
    parse_arguments,
    parse_ids,
    parse_login,
    parse_stat,
    terminal,
)
from agent.syscalls import FileFacts
from proto.model import Process, User
from runtime.clock import Clock

PATH_CHARS_MAX: Final = 8192
BELONGINGS_MAX: Final = 1024
LOGIN_BYTES_MAX: Final = 32
BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"

GONE: Final = "ended before it was read"
DELETED: Final = "deleted"
DELETED_OR_SO_NAMED: Final = "deleted or so named"
MEMFD: Final = "memfd"
KERNEL_THREAD: Final = "kernel thread"
FOREIGN: Final = "foreign pid namespace"
START_UNKNOWN: Final = "start unknown"
MOVED_ON: Final = "arguments not read: it runs another image by now"

_DELETED_SUFFIX: Final = b" (deleted)"
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_MEMFD_PREFIX: Final = b"/memfd:"


class Birth(Struct, frozen=True):
    """What the kernel told when the process came to be; ``start`` in nanoseconds since boot."""

    ppid: int
    start: int


class Sight(Struct, frozen=True):
    """A process as it was read, with image and script where they were asked for and can be had."""

    process: Process
    image: Image | None = None
    script: Image | None = None


class Ran(Struct, frozen=True):
    """The image of an exec as another source told it; nothing of it is held here."""

    facts: FileFacts
    path: bytes


class Hint(Struct, frozen=True):
    """What is known of a process that may end while it is read.

    ``birth`` is what was told of its start; ``before`` the time by which the one that is meant had
    started (nanoseconds since boot), because a later one has only inherited the number; ``ran``
    what it is said to run, so that its image need not be held.
    """

    birth: Birth | None = None
    before: int | None = None
    ran: Ran | None = None


_NO_HINT: Final = Hint()


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
        self.accounts = Accounts(host, clock)
        self._argv_bytes_max = argv_bytes_max
        self._belongings: dict[bytes, Belonging] = {}
        # The process numbers are not the host's own: every process says so.
        self.is_foreign = False
        # How many could not be read because we have no more descriptors.
        self.starved = 0
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

    def running(self, pid: int, facts: FileFacts) -> bool | None:
        """Tell whether a process runs a file now; None if it ended, or we have no right to look."""
        try:
            with self.proc.process(pid) as entry:
                return entry.image_id() == (facts.dev, facts.inode)
        except OSError:
            return None

    def runs(self, pid: int, image: Image) -> bool:
        """Tell whether a process is seen to run an image that is held."""
        return self.running(pid, image.facts) is True

    def read(
        self,
        pid: int,
        *,
        with_image: bool = False,
        with_script: bool = False,
        hint: Hint = _NO_HINT,
    ) -> Sight | None:
        """Return what can be read of a process; None when nothing is left of it.

        Args:
            pid: in the numbers of this /proc.
            with_image: hold its executable too, which the caller closes.
            with_script: hold what it tells an interpreter to run too, which the caller closes.
            hint: what is known of it already.
        """
        held: list[Image] = []
        image = script = None
        try:
            with self.proc.process(pid) as entry:
                image = self._image(entry) if with_image and hint.ran is None else None
                held += [image] if image else []
                process = self._process(entry, image, hint)
                if with_script and process is not None:
                    process, script = self._with_script(entry, process)
                    held += [script] if script else []
        except OSError as error:
            self.starved += error.errno in _NO_DESCRIPTORS
            process = None
        if process is None or (
            hint.before is not None and process.start > hint.before + NS_PER_TICK
        ):
            for each in held:
                each.close()
            return None
        return Sight(process, image, script)

    def unread(self, pid: int, birth: Birth | None, at: int, why: str = GONE) -> Process:
        """Return what can be said of a process that was not read.

        Args:
            pid: as the kernel told it.
            birth: what it told before; None if nothing.
            at: when it was last known to run, in nanoseconds since boot.
            why: the caveat; that it ended before it was read, as a rule.
        """
        if birth is None:
            return Process(boot_id=self.boot_id, pid=pid, start=at, caveats=(why, START_UNKNOWN))
        return Process(
            boot_id=self.boot_id, pid=pid, start=birth.start, ppid=birth.ppid, caveats=(why,)
        )

    def _image(self, entry: ProcDir) -> Image | None:
        try:
            return self.images.open(entry)
        except OSError as error:
            _unless_starved(error)
            return None

    def _with_script(self, entry: ProcDir, process: Process) -> tuple[Process, Image | None]:
        """Add what an interpreter was told to run."""
        if not isinstance(process.exe, str) or len(process.argv) < 2:
            return process, None
        named = script_of(process.exe, process.argv)
        if named is None:
            return process, None
        if not named.startswith("/"):
            if not isinstance(process.cwd, str):
                return structs.replace(process, script=named), None
            named = f"{process.cwd.rstrip('/')}/{named}"
        try:
            image = self.images.open_beneath(entry, os.fsencode(named))
        except (OSError, ValueError):
            image = None
        return structs.replace(process, script=host_text(named, PATH_CHARS_MAX)), image

    def _process(self, entry: ProcDir, image: Image | None, hint: Hint) -> Process | None:
        birth, ran = hint.birth, hint.ran
        has_moved = ran is not None and _runs_another(entry, ran)
        argv = () if has_moved else self._argv(entry)
        cwd = _path(entry, b"cwd")
        stat = _stat(entry)
        if stat is None and birth is None:
            return None
        caveats = [FOREIGN] if self.is_foreign else []
        user, effective = self._users(entry)
        belonging = self._belonging(entry)
        if ran is not None:
            exe: str | UnsetType | None = _told(ran.path, caveats, is_deleted=not ran.facts.links)
        else:
            exe = _executable(entry, image, stat, caveats)
        if has_moved:
            caveats.append(MOVED_ON)
        if stat is None or (stat.is_zombie and not argv):
            caveats.append(GONE)
        return Process(
            boot_id=self.boot_id,
            pid=entry.pid,
            start=stat.start if stat else birth.start if birth else 0,
            ppid=_parent(stat, birth),
            name=stat.name if stat else UNSET,
            exe=exe,
            cwd=cwd,
            argv=argv,
            user=user,
            effective_user=effective,
            login_user=self._login(entry),
            session=UNSET if stat is None or stat.session is None else stat.session,
            tty=terminal(stat.tty) if stat else UNSET,
            container=belonging.container if belonging else UNSET,
            unit=belonging.unit if belonging else UNSET,
            caveats=tuple(caveats),
        )

    def _login(self, entry: ProcDir) -> User | UnsetType | None:
        try:
            uid = parse_login(entry.read("loginuid", LOGIN_BYTES_MAX))
        except (OSError, ProcError):
            return UNSET
        return None if uid is None else self.accounts.user(uid)

    def _argv(self, entry: ProcDir) -> tuple[str, ...]:
        try:
            data = entry.read("cmdline", self._argv_bytes_max + 1)
        except OSError as error:
            _unless_starved(error)
            return ()
        return parse_arguments(data, self._argv_bytes_max)

    def _users(self, entry: ProcDir) -> tuple[User | UnsetType, User | UnsetType]:
        try:
            ids = parse_ids(entry.read("status", STATUS_BYTES_MAX))
        except (OSError, ProcError):
            return UNSET, UNSET
        return self.accounts.user(ids.uid), self.accounts.user(ids.euid)

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
    except OSError as error:
        _unless_starved(error)
        return None
    except ProcError:
        return None


def _unless_starved(error: OSError) -> None:
    """Let the want of a descriptor of ours not pass for the end of a process.

    Raises:
        OSError: it was that.
    """
    if error.errno in _NO_DESCRIPTORS:
        raise error


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
    if image is not None:
        return _told(raw, caveats, is_deleted=image.is_deleted)
    if raw.endswith(_DELETED_SUFFIX):
        caveats.append(DELETED_OR_SO_NAMED)
    return host_text(raw, PATH_CHARS_MAX)


def _told(raw: bytes, caveats: list[str], *, is_deleted: bool) -> str:
    """Return a path as the kernel tells it of an open file, and add what is odd about it."""
    if not raw.endswith(_DELETED_SUFFIX):
        return host_text(raw, PATH_CHARS_MAX)
    if not is_deleted:
        caveats.append(DELETED_OR_SO_NAMED)
        return host_text(raw, PATH_CHARS_MAX)
    caveats.append(MEMFD if raw.startswith(_MEMFD_PREFIX) else DELETED)
    return host_text(raw.removesuffix(_DELETED_SUFFIX), PATH_CHARS_MAX)


def _parent(stat: ProcStat | None, birth: Birth | None) -> int | UnsetType:
    """Return the parent now; one that is about to vanish has none, and had one at its birth."""
    if birth is not None and (stat is None or stat.is_zombie or not stat.ppid):
        return birth.ppid
    return stat.ppid if stat is not None else UNSET


def _runs_another(entry: ProcDir, ran: Ran) -> bool:
    """Tell whether a process is seen to run another image by now."""
    try:
        return entry.image_id() != (ran.facts.dev, ran.facts.inode)
    except OSError:
        return False


def _boot_id(host: HostRoot) -> bytes:
    try:
        text = host.read_bytes(BOOT_ID, 64).decode("ascii")
        return bytes.fromhex(text.strip().replace("-", ""))[:16].ljust(16, b"\0")
    except (HostFileError, ValueError):
        return bytes(16)
