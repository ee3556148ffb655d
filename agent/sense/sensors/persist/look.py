"""What a reader sees of the host, with a note of everything that its answer depends on.

A reader asks for files and directories; each answer is noted with the metadata from *before* it was
read. So one cheap pass over the notes says whether the reader's answer can be another one now: no
reader has to know what it depends on, and a missing file is a dependency as good as one there.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Generator, Iterable, Iterator
from functools import cached_property
from typing import Final

from msgspec import Struct

from agent.hostroot import (
    READ_FLAGS,
    HostFileDenied,
    HostFileError,
    HostFileMissing,
    HostRoot,
    read_at_most,
)
from agent.hosttext import host_text

FILE_BYTES_MAX: Final = 1 << 18
NAMES_MAX: Final = 4096
LINKS_MAX: Final = 16
UNREAD_MAX: Final = 64
DENIED_MAX: Final = 4096
# A file whose ctime is this young may be written again without any stamp moving.
YOUNG_NS: Final = 50_000_000

_PROC: Final = "/proc/"
_STAMP: Final = struct.Struct("<QQqqII")
_STEPS_A_SLICE: Final = 128
_SHOWN_CHARS_MAX: Final = 200


class Content:
    """A file as it was read; ``is_whole`` says whether to its end.

    Args:
        path: where.
        data: its first bytes.
        seen: its metadata before it was read.
    """

    def __init__(self, path: str, data: bytes, seen: os.stat_result, *, is_whole: bool) -> None:
        self.path = path
        self.data = data
        self.seen = seen
        self.is_whole = is_whole

    @cached_property
    def sha256(self) -> bytes | None:
        """The digest of the whole file; None where it was not read to its end."""
        return hashlib.sha256(self.data).digest() if self.is_whole else None

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that were read whole."""
        data, at = self.data, 0
        while (end := data.find(b"\n", at)) >= 0:
            yield data[at:end]
            at = end + 1
        if self.is_whole:
            yield data[at:]


class Mark(Struct, frozen=True):
    """What an answer depended on: the paths, one digest of all their metadata, our rights."""

    paths: bytes
    digest: bytes
    denied: tuple[str, ...] = ()
    count: int = 0


class Writable(Struct, frozen=True):
    """A file or directory that a reader used and that every user may write to."""

    path: str
    mode: int
    uid: int
    changed: int


class Look:
    """One reader's look at the host.

    Args:
        host: the only way to its files.
        remote: mount points whose server may never answer; nothing below them is touched.
        now: wall time, to know what is too young to be believed twice.
    """

    def __init__(self, host: HostRoot, remote: tuple[str, ...], now: int) -> None:
        self._host = host
        self._remote = remote
        self._now = now
        self._digest = hashlib.blake2b(digest_size=16)
        self._paths: dict[str, None] = {}
        self._is_young = False
        self.directories: dict[str, None] = {}
        self.writable: dict[str, Writable] = {}
        self.unread: dict[str, str] = {}
        self.denied: dict[str, None] = {}
        self.is_partial = False
        self.odd = 0

    def file(self, path: str, bytes_max: int = FILE_BYTES_MAX) -> Content | None:
        """Return a regular file, or None where there is none that can be read.

        What is there and cannot be read stands in `unread`.
        """
        if not self._is_ours(path):
            return None
        try:
            fd = self._host.open_file(path)
        except HostFileError as error:
            self._refused(path, error)
            return None
        try:
            seen = os.fstat(fd)
            data = read_at_most(fd, bytes_max + 1)
        except OSError as error:
            self._note(path, str(error.errno).encode())
            self.cannot(path, os.strerror(error.errno or 0).lower())
            return None
        finally:
            os.close(fd)
        self._note(path, data if path.startswith(_PROC) else self._stamp(seen))
        self._parent(path)
        if seen.st_mode & stat.S_IWOTH:
            self.writable[path] = _writable(path, seen)
        is_whole = len(data) <= bytes_max
        if not is_whole:
            self.cannot(path, f"is read only up to {bytes_max} bytes")
        return Content(path, data[:bytes_max], seen, is_whole=is_whole)

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory in their order; none where it is not there."""
        if not self._is_ours(directory):
            return []
        try:
            fd = self._host.open(directory, READ_FLAGS | os.O_DIRECTORY)
        except HostFileError as error:
            self._refused(directory, error)
            return []
        try:
            seen = os.fstat(fd)
            names = self._listed(fd, directory)
        except OSError as error:
            self._note(directory, str(error.errno).encode())
            self.cannot(directory, os.strerror(error.errno or 0).lower())
            return []
        finally:
            os.close(fd)
        self._note(directory, self._stamp(seen))
        self.directories[directory] = None
        if seen.st_mode & stat.S_IWOTH and not seen.st_mode & stat.S_ISVTX:
            self.writable[directory] = _writable(directory, seen)
        return sorted(names)

    def stat(self, path: str) -> os.stat_result | None:
        """Return the metadata of what is at a path, links followed; None where nothing is."""
        if not self._is_ours(path):
            return None
        try:
            seen = self._host.stat(path)
        except HostFileError as error:
            self._refused(path, error)
            return None
        self._note(path, self._stamp(seen))
        return seen

    def link(self, path: str) -> str | None:
        """Return where a symbolic link leads; None for what is none.

        Not noted: a link is made anew to lead elsewhere, which moves its directory's stamp.
        """
        try:
            return self._host.readlink(path)
        except HostFileError:
            return None

    def resolved(self, path: str) -> str | None:
        """Return the path without links; None where it leads to a remote place or nowhere.

        For paths that a user may bend: a link of his must not lead us where reading blocks.
        """
        left = [part for part in reversed(path.split("/")) if part]
        at, links = "", 0
        while left:
            part = left.pop()
            if part in {".", ".."}:
                at = at.rpartition("/")[0] if part == ".." else at
                continue
            step = f"{at}/{part}"
            if self._is_remote(step):
                self.cannot(path, "lies on a remote file system")
                return None
            target = self.link(step)
            if target is None:
                at = step
                continue
            links += 1
            if links > LINKS_MAX:
                self.cannot(path, "leads through too many links")
                return None
            at = "" if target.startswith("/") else at
            left += [inner for inner in reversed(target.split("/")) if inner]
        return at or "/"

    def cannot(self, path: str, why: str) -> None:
        """Note that a source that is there was not read, or not as a whole."""
        if len(self.unread) < UNREAD_MAX or path in self.unread:
            self.unread[path] = why

    def keeps(self, path: str) -> bool:
        """Tell whether what was known of ``path`` may still be so, because it was not read."""
        if self.is_partial or len(self.unread) >= UNREAD_MAX:
            return True
        return any(path == one or path.startswith(f"{one}/") for one in self.unread)

    def mark(self) -> Mark:
        """Return what the answer depended on; one that is too young to trust matches nothing."""
        digest = b"" if self._is_young else self._digest.digest()
        return Mark(
            b"\0".join(map(os.fsencode, self._paths)), digest, tuple(self.denied), len(self._paths)
        )

    # ------------------------------------------------------------------------------- notes

    def _note(self, path: str, stamp: bytes) -> None:
        if path not in self._paths:
            self._paths[path] = None
            self._digest.update(b"%d:" % len(stamp))
            self._digest.update(stamp)

    def _stamp(self, seen: os.stat_result) -> bytes:
        self._is_young |= abs(self._now - seen.st_ctime_ns) < YOUNG_NS
        return stamp_of(seen)

    def stamp_again(self, path: str) -> None:
        """Note what a path looks like from outside, whatever it is."""
        try:
            if path.startswith(_PROC):
                self._note(path, self._host.read_bytes(path, FILE_BYTES_MAX))
            else:
                self._note(path, self._stamp(self._host.stat(path)))
        except HostFileError as error:
            self._note(path, type(error).__name__.encode())

    def _refused(self, path: str, error: HostFileError) -> None:
        self.stamp_again(path)
        if isinstance(error, HostFileDenied) and len(self.denied) < DENIED_MAX:
            self.denied[path] = None
        if not isinstance(error, HostFileMissing):
            self.cannot(path, error.message.rpartition(": ")[2])

    def _parent(self, path: str) -> None:
        """Ask for events where they are rare: a home may be written all day, its .ssh is not."""
        parent = path.rpartition("/")[0]
        if parent.startswith("/etc") or parent.endswith("/.ssh"):
            self.directories[parent] = None

    def _listed(self, fd: int, directory: str) -> list[str]:
        names: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if len(names) >= NAMES_MAX:
                    self.cannot(directory, f"holds more than {NAMES_MAX} names")
                    break
                names.append(entry.name)
        return names

    def _is_ours(self, path: str) -> bool:
        if self._is_remote(path):
            self.cannot(path, "lies on a remote file system")
            return False
        return True

    def _is_remote(self, path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in self._remote)


def stamp_of(seen: os.stat_result) -> bytes:
    """Return what moves when a file or directory does."""
    inode, size = seen.st_ino & 0xFFFF_FFFF_FFFF_FFFF, seen.st_size
    return _STAMP.pack(
        inode, size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_mode, seen.st_uid & 0xFFFF_FFFF
    )


def is_as(mark: Mark, host: HostRoot, now: int) -> Generator[None, None, bool]:
    """Tell, in slices, whether nothing that an answer depended on has moved.

    Args:
        mark: from `Look.mark`.
        host: the same.
        now: wall time.
    """
    if not mark.digest:
        return False
    if any(_is_allowed(host, path) for path in mark.denied):
        return False
    look = Look(host, (), now)
    for count, path in enumerate(mark.paths.split(b"\0")):
        if count % _STEPS_A_SLICE == _STEPS_A_SLICE - 1:
            yield
        look.stamp_again(os.fsdecode(path))
    return look.mark().digest == mark.digest


def shown(reasons: Iterable[tuple[str, str]]) -> str:
    """Return a few sources with why each was not read, for people."""
    told = [f"{host_text(path, _SHOWN_CHARS_MAX)} {why}" for path, why in reasons]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return ", ".join(told[:3]) + more


def _is_allowed(host: HostRoot, path: str) -> bool:
    """Tell whether what we lacked the right to read can be opened now."""
    try:
        os.close(host.open(path))
    except HostFileError:
        return False
    return True


def _writable(path: str, seen: os.stat_result) -> Writable:
    return Writable(path, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_ctime_ns)
