"""A look at one file: compare, hash where something moved, tell.

Everything that takes long is a generator that yields between slices of work; while it is
suspended another look at the same file may have told the change, so the row is read again before
anything is told.
"""

import hashlib
import os
import stat
from collections.abc import Generator
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.hostroot import READ_FLAGS, HostFileError, HostFileMissing, HostFileNotRegular, HostRoot
from agent.hosttext import host_text
from agent.sense.ports import Sighting
from agent.sense.sensors.filerows import (
    YOUNG_NS,
    FileRow,
    decode_row,
    encode_row,
    key_of,
    row_of,
    type_caveat,
)
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.told import Told
from proto.model import Entity, File, Observation, ObservationKind, Precision, Role, Source, User
from runtime.clock import Clock

SLICE_BYTES: Final = 256 * 1024
PATH_CHARS_MAX: Final = 8192

Steps = Generator[None, None, None]


class _Content(Struct, frozen=True):
    """What reading a file gave; ``sha256`` None: nothing to hash, UNSET: not hashed."""

    seen: os.stat_result
    sha256: bytes | UnsetType | None
    caveats: tuple[str, ...] = ()
    unsure: bool = False


class Looker:
    """Looks at files and collects what there is to tell in `out`.

    Args:
        host: the only way to its files.
        clock: stamps what is seen.
        told: what was told before.
        settings: the largest file to hash, and how many to remember.
    """

    def __init__(self, host: HostRoot, clock: Clock, told: Told, settings: FileSettings) -> None:
        self._host = host
        self._clock = clock
        self.told = told
        self._settings = settings
        self._entries = 0
        self.over = 0
        self.source = Source("files", "", "")
        self.out: list[Sighting] = []

    def count_anew(self) -> None:
        """Count what is remembered, and from now on what there is no room for.

        Raises:
            StateLost: the database is damaged.
        """
        self._entries = self.told.count()
        self.over = 0

    def stat(self, path: bytes) -> os.stat_result | None:
        """Return the metadata of what is at ``path`` itself, None where nothing is.

        Raises:
            HostFileError: it cannot be said.
        """
        try:
            return self._host.stat(path, follow=False)
        except HostFileMissing:
            return None

    def row(self, path: bytes) -> FileRow | None:
        """Return what was told of ``path``.

        Raises:
            StateLost: the database is damaged.
        """
        value = self.told.get(key_of(path))
        return None if value is None else decode_row(value)

    def look(self, path: bytes, *, is_baseline: bool) -> Steps:
        """Compare ``path`` with what was told of it, and tell what is new.

        Args:
            path: of anything but a directory.
            is_baseline: an unknown file is one that was there before us.

        Raises:
            StateLost: the database is damaged.
        """
        try:
            seen = self.stat(path)
        except HostFileError:
            return  # not known to be gone, nothing to be seen: the sweep counts such directories
        if seen is None or stat.S_ISDIR(seen.st_mode):
            self._tell_removed(path)
            return
        before = self.row(path)
        if before is None and self._entries >= self._settings.entries_max:
            self.over += 1
            return
        if before is not None and before.is_as(seen) and not before.unsure:
            return
        content = yield from self._read(path, seen)
        if content is None:
            self._tell_removed(path)
        else:
            self._tell_content(path, content, is_baseline=is_baseline)

    def forget(self, path: bytes) -> None:
        """Forget a file that is no longer there, or no longer ours to watch."""
        self.told.put(key_of(path), None)
        self._entries -= 1

    def tell(self, sighting: Sighting) -> None:
        """Tell something of the sensor's own."""
        self.told.tell(sighting)
        self.out.append(sighting)

    def _tell_removed(self, path: bytes) -> None:
        before = self.row(path)
        if before is None:
            return
        self.forget(path)
        file = File(
            path=host_text(path, PATH_CHARS_MAX),
            sha256=before.sha256 or UNSET,
            size=before.size,
            mode=before.mode,
            owner=User(uid=before.uid),
            changed=before.changed,
            inode=before.inode,
        )
        self._tell_file(ObservationKind.FILE_REMOVED, file, self._clock.wall_ns(), Precision.POLL)

    def _tell_content(self, path: bytes, content: _Content, *, is_baseline: bool) -> None:
        before = self.row(path)
        seen = content.seen
        sha256 = content.sha256 if isinstance(content.sha256, bytes) else b""
        if before is not None and before.is_as(seen) and before.sha256 == sha256:
            if before.unsure and not content.unsure:
                self.told.put(key_of(path), encode_row(row_of(seen, sha256, unsure=False)))
            return
        self.told.put(key_of(path), encode_row(row_of(seen, sha256, unsure=content.unsure)))
        self._entries += before is None
        file = File(
            path=host_text(path, PATH_CHARS_MAX),
            sha256=content.sha256,
            size=seen.st_size,
            mode=seen.st_mode,
            owner=User(uid=seen.st_uid),
            changed=seen.st_ctime_ns,
            inode=seen.st_ino,
            caveats=content.caveats,
        )
        if before is not None:
            self._tell_file(ObservationKind.FILE_CHANGED, file, seen.st_ctime_ns, Precision.EXACT)
        elif is_baseline:
            self._tell_file(ObservationKind.FILE_SEEN, file, self._clock.wall_ns(), Precision.POLL)
        else:
            self._tell_file(ObservationKind.FILE_CREATED, file, seen.st_ctime_ns, Precision.EXACT)

    def _tell_file(
        self, kind: ObservationKind, file: File, event_time: int, precision: Precision
    ) -> None:
        self.tell(
            Observation(
                kind=kind,
                source=self.source,
                event_time=event_time,
                event_precision=precision,
                observed_at=self._clock.wall_ns(),
                subject=Entity(Role.TARGET, file),
            )
        )

    def _read(self, path: bytes, seen: os.stat_result) -> Generator[None, None, _Content | None]:
        """Read and hash what is there; None where it went meanwhile."""
        if kind := type_caveat(seen.st_mode):
            return _Content(seen, None, (kind,))
        if seen.st_size > self._settings.hash_bytes_max:
            return _Content(seen, UNSET, ("too large to hash",))
        try:
            fd = self._host.open(path, READ_FLAGS | os.O_NOFOLLOW)
        except (HostFileMissing, HostFileNotRegular):
            # Gone, or a link or a device now: whatever it is, the next look will see it.
            return None if self._is_gone(path) else _Content(seen, UNSET, ("changed",), unsure=True)
        except HostFileError:
            return _Content(seen, UNSET, ("unreadable",))
        try:
            return (yield from self._hash(fd))
        except OSError:
            return _Content(seen, UNSET, ("unreadable",))
        finally:
            os.close(fd)

    def _is_gone(self, path: bytes) -> bool:
        try:
            return self.stat(path) is None
        except HostFileError:
            return False

    def _hash(self, fd: int) -> Generator[None, None, _Content]:
        """Hash an open file in slices; what moved under our hands is not given a hash."""
        began = os.fstat(fd)
        unsure = abs(self._clock.wall_ns() - began.st_ctime_ns) < YOUNG_NS
        digest = hashlib.sha256()
        left = self._settings.hash_bytes_max
        while left > 0 and (data := os.read(fd, min(SLICE_BYTES, left))):
            digest.update(data)
            left -= len(data)
            if len(data) == SLICE_BYTES:
                yield
        ended = os.fstat(fd)
        if not row_of(began, b"", unsure=False).is_as(ended):
            return _Content(ended, UNSET, ("changed",), unsure=True)
        return _Content(ended, digest.digest(), unsure=unsure)
