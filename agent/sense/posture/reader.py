"""What probes see of a host: bounded reads under a deadline, each file read once in a pass.

Every way of not seeing has a name (`UnknownReason`) and is raised as `Unseen`. That a file is
absent is a fact only where the host's tree is there to be absent from: in an empty root, or where
``/proc`` is not mounted, the answer is that nothing was seen.
"""

import errno
import stat
from collections.abc import Callable, Iterator
from os import stat_result
from typing import Final, Protocol, TypeVar, cast

from agent.hostroot import (
    HostFileDenied,
    HostFileError,
    HostFileMissing,
    HostFileTooLarge,
)
from proto.content.checks import UnknownReason
from runtime.clock import NS_PER_S, Clock
from runtime.errors import Fault, VedetteError

FILE_BYTES_MAX: Final = 256 * 1024
NAMES_MAX: Final = 65_536
PROBE_NS_MAX: Final = 2 * NS_PER_S

_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESRCH})
_TREE: Final = ("/etc", "/usr")
_KERNEL: Final = "/proc/sys/kernel/osrelease"

T = TypeVar("T")


class Unseen(VedetteError):
    """A probe could not look, so nothing can be said.

    Args:
        reason: the word that stands in the evidence.
        what: what happened, for a person; never in the evidence.
    """

    fault = Fault.HOST

    def __init__(self, reason: UnknownReason, what: str) -> None:
        super().__init__(what)
        self.reason = reason


class NamedEntry(Protocol):
    """A name in a directory."""

    @property
    def name(self) -> str:
        """The name, without its directory."""
        ...


class HostFiles(Protocol):
    """The part of `agent.hostroot.HostRoot` that probes use."""

    def read_bytes(self, path: str, size_bytes_max: int) -> bytes:
        """Return the whole of a regular file."""
        ...

    def stat(self, path: str, *, follow: bool = True) -> stat_result:
        """Return the metadata of what is there."""
        ...

    def scandir(self, path: str) -> Iterator[NamedEntry]:
        """Yield the entries of a directory."""
        ...


class HostReader:
    """One pass over a host: what was read once is not read again."""

    def __init__(self, host: HostFiles, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._deadline = 0
        self._kept: dict[str, object] = {}
        self.restart()

    def restart(self, time_ns_max: int = PROBE_NS_MAX) -> None:
        """Begin a probe: give it a deadline of its own."""
        self._deadline = self._clock.monotonic_ns() + time_ns_max

    def forget(self) -> None:
        """Begin a pass: read everything anew."""
        self._kept.clear()

    def once(self, name: str, read: Callable[[], T]) -> T:
        """Return what ``read`` gave the first time in this pass; a refusal is kept as well.

        Raises:
            Unseen: as raised the first time.
        """
        if name not in self._kept:
            try:
                self._kept[name] = read()
            except Unseen as unseen:
                if unseen.reason is UnknownReason.TIMEOUT:
                    raise
                self._kept[name] = unseen
        kept = self._kept[name]
        if isinstance(kept, Unseen):
            raise Unseen(kept.reason, kept.message)
        return cast("T", kept)

    def read(self, path: str, size_bytes_max: int = FILE_BYTES_MAX) -> bytes | None:
        """Return the whole of a regular file; None where it is proven absent.

        Raises:
            Unseen: it could not be read, or is over its limit.
        """
        return self._look(path, lambda: self._host.read_bytes(path, size_bytes_max))

    def text(self, path: str, size_bytes_max: int = FILE_BYTES_MAX) -> str | None:
        """Return a text file of at least one byte; None where it is proven absent.

        What is not UTF-8 appears as hexadecimal escapes.

        Raises:
            Unseen: it could not be read, is empty, is over its limit or holds NUL bytes.
        """
        data = self.read(path, size_bytes_max)
        if data is None:
            return None
        if not data or b"\0" in data:
            raise Unseen(UnknownReason.PARSE, f"{path} is {'not text' if data else 'empty'}")
        return data.decode("utf-8", "backslashreplace")

    def stat(self, path: str) -> stat_result | None:
        """Return the metadata of what a path leads to; None where that is proven absent.

        Raises:
            Unseen: it could not be looked at.
        """
        return self._look(path, lambda: self._host.stat(path))

    def names(self, path: str) -> tuple[str, ...] | None:
        """Return the names in a directory, sorted; None where it is proven absent.

        Raises:
            Unseen: it could not be listed, or holds over `NAMES_MAX` names.
        """
        return self.once(f"names {path}", lambda: self._look(path, lambda: self._list(path)))

    def _list(self, path: str) -> tuple[str, ...]:
        names = []
        for entry in self._host.scandir(path):
            names.append(entry.name)
            if len(names) > NAMES_MAX:
                raise Unseen(UnknownReason.OVERSIZE, f"{path} holds over {NAMES_MAX} names")
            self._hurry(path)
        return tuple(sorted(names))

    def _look(self, path: str, look: Callable[[], T]) -> T | None:
        self._hurry(path)
        try:
            found = look()
        except HostFileMissing as missing:
            if missing.errno not in _ABSENT:
                raise Unseen(UnknownReason.PARSE, missing.message) from missing
            self._prove_absent(path)
            return None
        except HostFileError as error:
            raise _unseen(error) from error
        self._hurry(path)
        return found

    def _prove_absent(self, path: str) -> None:
        if path.startswith("/proc/"):
            if not self._is_there(_KERNEL, stat.S_ISREG):
                raise Unseen(UnknownReason.OFFLINE, "the kernel's files are not mounted")
        elif not all(self._is_there(name, stat.S_ISDIR) for name in _TREE):
            raise Unseen(UnknownReason.MISSING, "there is no host tree here")

    def _is_there(self, path: str, is_kind: Callable[[int], bool]) -> bool:
        try:
            return is_kind(self._host.stat(path).st_mode)
        except HostFileMissing:
            return False
        except HostFileError as error:
            raise _unseen(error) from error

    def _hurry(self, path: str) -> None:
        if self._clock.monotonic_ns() > self._deadline:
            raise Unseen(UnknownReason.TIMEOUT, f"no time left at {path}")


def _unseen(error: HostFileError) -> Unseen:
    if isinstance(error, HostFileDenied):
        return Unseen(UnknownReason.DENIED, error.message)
    if isinstance(error, HostFileTooLarge):
        return Unseen(UnknownReason.OVERSIZE, error.message)
    return Unseen(UnknownReason.PARSE, error.message)
