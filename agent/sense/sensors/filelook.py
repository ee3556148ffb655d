"""A look at one file: compare, hash where something moved, judge by its package, tell.

Everything that takes long is a generator that yields between slices of work; while it is
suspended another look at the same file may have told the change, so the row is read again before
anything is told.
"""

import os
import stat
from collections.abc import Callable, Generator
from typing import Final

from msgspec import UNSET, Struct, UnsetType, structs

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.hosttext import host_text
from agent.sense.match.packaged import LIKE_AGAIN, STILL_UNLIKE, UNLIKE
from agent.sense.ports import Sighting
from agent.sense.sensors.filecontent import Content, ContentReader
from agent.sense.sensors.filepackages import Packaged
from agent.sense.sensors.filerows import FileRow, decode_row, encode_row, key_of, row_of
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.fileverdict import Verdicts
from agent.sense.sensors.told import Told
from proto.model import (
    Entity,
    File,
    Observation,
    ObservationKind,
    Precision,
    Process,
    Role,
    Source,
    User,
)
from runtime.clock import Clock

PATH_CHARS_MAX: Final = 8192
# A file that was not compared with its package because dpkg was at work; a later word follows.
NOT_COMPARED: Final = "not compared with its package yet"

Steps = Generator[None, None, None]


class _Verdict(Struct, frozen=True):
    """What there is to remember, and to say, of a file and its package."""

    package: str | UnsetType | None = UNSET
    blamed: bool = False
    waits: bool = False
    word: str = ""


class _Past(Struct, frozen=True):
    """What was known of a file before it was read."""

    row: FileRow | None
    owner: Packaged | None
    is_baseline: bool


class Looker:
    """Looks at files and collects what there is to tell in `out`.

    Args:
        host: the only way to its files.
        clock: stamps what is seen.
        told: what was told before.
        settings: the largest file to hash, and how many to remember.
        verdicts: what the package database says.
    """

    def __init__(
        self,
        host: HostRoot,
        clock: Clock,
        told: Told,
        settings: FileSettings,
        verdicts: Verdicts,
    ) -> None:
        self._host = host
        self._clock = clock
        self.told = told
        self._entries_max = settings.entries_max
        self._reader = ContentReader(host, clock, settings.hash_bytes_max)
        self._verdicts = verdicts
        self._entries = 0
        self.over = 0
        # How many looks were begun: a look, or a walk, that was suspended knows of the others.
        self.looks = 0
        self.source = Source("files", "", "")
        self.out: list[Sighting] = []
        # Who is said to have changed a file, where its events have been heard.
        self.who: Callable[[bytes], Process | None] = _nobody

    def hash_new(self, *, is_hashing: bool) -> None:
        """Hash what is new from now on, or leave it for a later look."""
        self._reader.is_hashing = is_hashing

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
        yield from self.look_at(path, seen, is_baseline=is_baseline)

    def look_at(
        self,
        path: bytes,
        seen: os.stat_result,
        *,
        is_baseline: bool,
        before: FileRow | UnsetType | None = UNSET,
    ) -> Steps:
        """Do as `look` does, with the metadata of what is no directory at hand.

        Args:
            path: of anything but a directory.
            seen: what it is.
            is_baseline: an unknown file is one that was there before us.
            before: its stored row, where nothing else was looked at since it was read.

        Raises:
            StateLost: the database is damaged.
        """
        self.looks += 1
        if before is UNSET or not self.told.is_written(key_of(path)):
            before = self.row(path)
        if before is None and self._entries >= self._entries_max:
            self.over += 1
            return
        if before is not None and before.is_as(seen) and not before.unsure:
            if not self.is_to_judge(path, before):
                return
            if before.md5:
                self._judge_again(path, before)
                return
        owner = self._verdicts.owner(path) if stat.S_ISREG(seen.st_mode) else None
        looks = self.looks
        content = yield from self._reader.read(
            path, seen, with_md5=owner is not None and bool(owner.digests)
        )
        if content is None:
            self._tell_removed(path)
            return
        if looks != self.looks:
            before = self.row(path)
        self._tell_content(path, content, _Past(before, owner, is_baseline=is_baseline))

    def is_old(self, row: FileRow, seen: os.stat_result) -> bool:
        """Tell whether there is certainly nothing new of a file; the cheap question."""
        return not (row.unsure or row.waits or self._verdicts.is_anew) and row.is_as(seen)

    def is_to_judge(self, path: bytes, row: FileRow) -> bool:
        """Tell whether a file that has not moved is to be compared with its package (anew)."""
        if not (row.waits or self._verdicts.is_anew) or not stat.S_ISREG(row.mode):
            return False
        owner = self._verdicts.owner(path)
        if owner is None or not owner.digests:
            return row.waits or row.blamed
        if not row.md5:
            return bool(row.sha256)
        return row.waits or row.blamed == (row.md5 in owner.digests)

    def forget(self, path: bytes) -> None:
        """Forget a file that is no longer there, or no longer ours to watch."""
        self.looks += 1
        self._put(path, None)
        self._entries -= 1

    def tell(self, sighting: Sighting) -> None:
        """Tell something of the sensor's own."""
        self.told.tell(sighting)
        self.out.append(sighting)

    def _put(self, path: bytes, row: FileRow | None) -> None:
        self.told.put(key_of(path), None if row is None else encode_row(row))

    # ---------------------------------------------------------------- files and their packages

    def _verdict(self, owner: Packaged | None, md5: bytes, *, was_blamed: bool) -> _Verdict:
        """Judge a file that was read; what could not be read stays as it was judged."""
        package: str | UnsetType | None = UNSET
        if self._verdicts.knows:
            package = None if owner is None else owner.name
        if owner is not None and owner.digests and not md5:
            return _Verdict(package, blamed=was_blamed)
        blamed = self._verdicts.is_blamed(owner, md5)
        if blamed is None:
            return _Verdict(package, blamed=was_blamed, waits=True, word=NOT_COMPARED)
        if blamed:
            return _Verdict(package, blamed=True, word=STILL_UNLIKE if was_blamed else UNLIKE)
        return _Verdict(package, word=LIKE_AGAIN if was_blamed else "")

    def _judge_again(self, path: bytes, row: FileRow) -> None:
        """Judge a file that has not moved by what its package says now."""
        owner = self._verdicts.owner(path)
        verdict = self._verdict(owner, row.md5, was_blamed=row.blamed)
        if verdict.waits and row.waits:
            return
        self._put(path, _judged(row, row.md5, verdict))
        if verdict.blamed != row.blamed:
            file = _file_of(path, row, verdict.package, verdict.word)
            self._tell_file(
                ObservationKind.FILE_SEEN, file, self._clock.wall_ns(), Precision.POLL, None
            )

    # ------------------------------------------------------------------------- what is told

    def _tell_removed(self, path: bytes) -> None:
        before = self.row(path)
        if before is None:
            return
        self.forget(path)
        owner = self._verdicts.owner(path) if before.blamed else None
        file = _file_of(
            path,
            before,
            UNSET if owner is None else owner.name,
            LIKE_AGAIN if before.blamed else "",
        )
        now = self._clock.wall_ns()
        self._tell_file(ObservationKind.FILE_REMOVED, file, now, Precision.POLL, self.who(path))

    def _tell_content(self, path: bytes, content: Content, past: _Past) -> None:
        before, seen = past.row, content.seen
        sha256 = content.sha256 if isinstance(content.sha256, bytes) else b""
        was_blamed = before is not None and before.blamed
        verdict = _Verdict()
        if stat.S_ISREG(seen.st_mode):
            verdict = self._verdict(past.owner, content.md5, was_blamed=was_blamed)
        is_same = before is not None and before.is_as(seen) and before.sha256 == sha256
        is_old = before is not None and is_same and was_blamed == verdict.blamed
        after = row_of(
            seen, sha256, unsure=content.unsure and (before is None or not is_old or before.unsure)
        )
        if past.owner is not None:
            after = _judged(after, content.md5, verdict)
        if after != before:
            self._put(path, after)
        if is_old:
            return
        self._entries += before is None
        file = File(
            path=host_text(path, PATH_CHARS_MAX),
            sha256=content.sha256,
            size=seen.st_size,
            mode=seen.st_mode,
            owner=User(uid=seen.st_uid),
            changed=seen.st_ctime_ns,
            inode=seen.st_ino,
            package=verdict.package,
            caveats=(*content.caveats, verdict.word) if verdict.word else content.caveats,
        )
        if is_same or (before is None and past.is_baseline):
            now = self._clock.wall_ns()
            self._tell_file(ObservationKind.FILE_SEEN, file, now, Precision.POLL, None)
            return
        kind = ObservationKind.FILE_CHANGED if before else ObservationKind.FILE_CREATED
        self._tell_file(kind, file, seen.st_ctime_ns, Precision.EXACT, self.who(path))

    def _tell_file(
        self,
        kind: ObservationKind,
        file: File,
        event_time: int,
        precision: Precision,
        by: Process | None,
    ) -> None:
        self.tell(
            Observation(
                kind=kind,
                source=self.source,
                event_time=event_time,
                event_precision=precision,
                observed_at=self._clock.wall_ns(),
                subject=Entity(Role.TARGET, file),
                process=by,
            )
        )


def _nobody(_path: bytes) -> None:
    return None


def _judged(row: FileRow, md5: bytes, verdict: _Verdict) -> FileRow:
    return structs.replace(row, md5=md5, blamed=verdict.blamed, waits=verdict.waits)


def _file_of(path: bytes, row: FileRow, package: str | UnsetType | None, word: str) -> File:
    """Return a file as it was told last."""
    return File(
        path=host_text(path, PATH_CHARS_MAX),
        sha256=row.sha256 or UNSET,
        size=row.size,
        mode=row.mode,
        owner=User(uid=row.uid),
        changed=row.changed,
        inode=row.inode,
        package=package,
        caveats=(word,) if word else (),
    )
