"""Whether a file is what its package made of it, and when that can be said at all.

While dpkg works, files and lists of digests are of two versions. So nothing is blamed unless dpkg
is at rest and its lists are those we have read; what cannot be said yet waits, and a sweep judges
it once dpkg has ended. Somebody who holds dpkg's lock for ever wins an hour.
"""

from collections.abc import Generator, Sequence
from typing import Final

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors import dpkg
from agent.sense.sensors.dpkgwork import is_at_work
from agent.sense.sensors.filepackages import (
    DIVERSIONS_PATH,
    INFO_PATH,
    Directories,
    Packaged,
    PackageIndex,
    read_index,
)
from agent.sense.sensors.replacewatch import ReplaceWatch
from runtime.clock import NS_PER_S, Clock

SETTLE_NS: Final = 5 * NS_PER_S
BUSY_NS: Final = 15 * NS_PER_S
PATIENCE_NS: Final = 3600 * NS_PER_S


class Verdicts:
    """Judges files by the package database.

    Args:
        host: the only way to dpkg's files.
        clock: its boot clock paces.
        wanted: tells whether files of a directory are watched at all.
    """

    def __init__(self, host: HostRoot, clock: Clock, wanted: Directories) -> None:
        self._host = host
        self._clock = clock
        self._wanted = wanted
        self._watch = ReplaceWatch(host, dpkg.STATUS_PATH)
        self._index = PackageIndex()
        self._stamp = b""
        self._due: int | None = None
        self._waiting_since: int | None = None
        self.is_anew = False
        self.problem = ""

    def open(self) -> None:
        """Wait for dpkg from now on."""
        self._watch.open()
        self._due = self._waiting_since = None
        self._stamp = b""

    def descriptors(self) -> Sequence[int]:
        """Return the descriptor that is readable when dpkg has written its status."""
        fd = self._watch.fileno()
        return (fd,) if fd >= 0 else ()

    def due(self) -> int | None:
        """Return when files should be judged again, if they should."""
        return self._due

    def wants_sweep(self) -> bool:
        """Tell whether dpkg has come to rest after a change, so that all can be judged."""
        now = self._clock.boot_ns()
        if self._watch.was_replaced():
            self._due = now + SETTLE_NS
        if self._due is None or now < self._due:
            return False
        if is_at_work(self._host) and not self._is_patience_over(now):
            self._due = now + BUSY_NS
            return False
        self._due = None
        return True

    def refresh(self) -> Generator[None, None, None]:
        """Read the lists again if they have changed; for the sweep that is to follow."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self.problem = ""
        try:
            self._index = yield from read_index(self._host, self._wanted)
        except HostFileMissing:
            self._index = PackageIndex()  # no dpkg here
        except HostFileError as error:
            self.problem = f"files are not compared with their packages: {error.message}"
            return
        self._stamp = stamp
        self.is_anew = True

    def all_judged(self) -> None:
        """A sweep has asked about every file."""
        self.is_anew = False
        if self._due is None:
            self._waiting_since = None

    def owner(self, path: bytes) -> Packaged | None:
        """Return the package of a file."""
        return self._index.find(path)

    @property
    def knows(self) -> bool:
        """Whether there is a package database that has been read."""
        return len(self._index) > 0

    def is_blamed(self, owner: Packaged | None, md5: bytes) -> bool | None:
        """Tell whether a file of this digest differs; None when it cannot be said yet."""
        if owner is None or not owner.digests or not md5 or md5 in owner.digests:
            return False
        now = self._clock.boot_ns()
        if self._is_patience_over(now):
            return True
        if not is_at_work(self._host) and self._stamp_now() == self._stamp:
            return True
        if self._waiting_since is None:
            self._waiting_since = now
        if self._due is None:
            self._due = now + SETTLE_NS
        return None

    def close(self) -> None:
        """Let go of the watch; harmless when repeated."""
        self._watch.close()

    def _is_patience_over(self, now: int) -> bool:
        return self._waiting_since is not None and now - self._waiting_since > PATIENCE_NS

    def _stamp_now(self) -> bytes:
        """Return what changes when dpkg has changed anything that counts."""
        parts = []
        for path in (dpkg.STATUS_PATH, INFO_PATH, DIVERSIONS_PATH):
            try:
                seen = self._host.stat(path)
            except HostFileError:
                continue
            parts.append(b"%d:%d:%d" % (seen.st_ino, seen.st_size, seen.st_mtime_ns))
        return b" ".join(parts) or b"none"
