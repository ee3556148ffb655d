"""Walks of the trees: every directory is watched, listed and compared with what was told.

A walk is a generator: it yields between entries and between slices of hashing, so that whoever
drives it can stop at a deadline. What cannot be listed is never taken for gone.
"""

import os
import stat
from collections.abc import Container, Generator, Iterator
from typing import Final

from msgspec import UNSET, Struct

from agent.hostroot import READ_FLAGS, HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.fileevents import FileEvents
from agent.sense.sensors.filelook import Looker, Steps
from agent.sense.sensors.filerows import FileRow, directories_below, rows_in
from agent.sense.sensors.filetrees import ROOTS_MAX, Place, Scope, upward

# Files in a step of which nothing has moved: a step of its own would cost more than the file.
QUIET_A_STEP: Final = 16

_DIRECTORY_FLAGS: Final = READ_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW


class Report:
    """What a full sweep, and the walks of parts after it, could not do."""

    def __init__(self) -> None:
        self.roots = 0
        self.missing = 0
        self.links = 0
        self.over = 0
        self.unlisted: set[bytes] = set()


class _Listing(Struct, frozen=True):
    """One directory of a walk; ``dev`` is the file system that the walk stays on."""

    place: Place
    dev: int
    is_baseline: bool


class _Found(Struct, frozen=True):
    """A file in a listing, and what is remembered of it."""

    name: bytes
    seen: os.stat_result
    row: FileRow | None


class Sweep:
    """Walks trees and parts of them.

    Args:
        host: lists the directories.
        scope: what belongs to a tree.
        looker: compares and tells.
        events: gets every directory before it is listed, so that nothing slips between.
        entries_max: directories to visit at most in one walk, and files in one of them.
    """

    def __init__(
        self, host: HostRoot, scope: Scope, looker: Looker, events: FileEvents, entries_max: int
    ) -> None:
        self._host = host
        self._scope = scope
        self._looker = looker
        self._events = events
        self._entries_max = entries_max
        self._going = Report()
        self.report = Report()

    def everything(self, baselined: Container[int]) -> Steps:
        """Walk all trees and settle what is remembered of places that are in none.

        When it is over, `report` is about this walk.

        Args:
            baselined: numbers of the trees whose unknown files are new ones.

        Raises:
            StateLost: the database is damaged.
        """
        self._looker.count_anew()
        self._going = Report()
        self._events.begin_sweep()
        visited: set[bytes] = set()
        for number, tree in enumerate(self._scope.trees):
            for path in roots_of(self._host, os.fsencode(tree.path)):
                self._going.roots += 1
                root = self._scope.root(number, path)
                yield from self._walk(root, visited, is_baseline=number not in baselined)
        yield from self._settle(b"", visited)
        self._going.over = self._looker.over
        self.report = self._going
        self._events.end_sweep()

    def part(self, place: Place, *, is_baseline: bool) -> Steps:
        """Walk one directory and all below it.

        Raises:
            StateLost: the database is damaged.
        """
        visited: set[bytes] = set()
        yield from self._walk(place, visited, is_baseline=is_baseline)
        yield from self._settle(place.path, visited)

    def _walk(self, root: Place, visited: set[bytes], *, is_baseline: bool) -> Steps:
        seen = self._stat_root(root)
        if seen is None:
            return
        if not stat.S_ISDIR(seen.st_mode):
            visited.add(root.path)
            if root.depth == 0:
                self._events.add_parent(root, is_file=True)
                self._going.links += stat.S_ISLNK(seen.st_mode)
            yield from self._looker.look(root.path, is_baseline=is_baseline)
            return
        stack = [root]
        while stack:
            place = stack.pop()
            if len(visited) >= self._entries_max:
                self._not_listed(place)
                continue
            yield
            listing = _Listing(place, seen.st_dev, is_baseline=is_baseline)
            below = yield from self._directory(listing, visited)
            room = max(self._entries_max - len(visited) - len(stack), 0)
            if len(below) > room:
                self._not_listed(place)
            stack += below[:room]

    def _stat_root(self, root: Place) -> os.stat_result | None:
        """Return the metadata of where a walk begins; above a missing root a watch waits for it."""
        try:
            seen = self._looker.stat(root.path or b"/")
            if seen is None and root.depth == 0:
                self._events.add_parent(root, is_file=False)
                seen = self._looker.stat(root.path or b"/")
                self._going.missing += seen is None
        except HostFileError:
            self._not_listed(root)
            return None
        return seen

    def _directory(
        self, listing: _Listing, visited: set[bytes]
    ) -> Generator[None, None, list[Place]]:
        """Compare one directory with its rows; return the directories below."""
        place = listing.place
        try:
            fd = self._host.open(place.path or b"/", _DIRECTORY_FLAGS)
        except HostFileMissing:
            return []  # gone since it was listed: its rows are settled in the end
        except HostFileError:
            self._not_listed(place)
            return []
        try:
            seen = os.fstat(fd)
            if seen.st_dev != listing.dev or self._events.is_own(seen):
                return []
            self._events.add(fd, seen.st_dev, place)
            visited.add(place.path)
            return (yield from self._entries_of(fd, listing))
        except OSError:
            self._not_listed(place)
            return []
        finally:
            os.close(fd)

    def _entries_of(self, fd: int, listing: _Listing) -> Generator[None, None, list[Place]]:
        """Go through names and rows side by side, both in order, so that neither is held whole."""
        place = listing.place
        below: list[Place] = []
        looks = self._looker.looks
        quiet = 0
        names = sorted(map(os.fsencode, os.listdir(fd)))
        for name, known, is_listed in _paired(names, rows_in(self._looker.told, place.path)):
            seen = _stat_in(fd, name) if is_listed else None
            is_ours = seen is not None and not self._scope.excludes(place, name)
            if seen and known and is_ours and self._looker.is_old(known, seen):
                quiet += 1
                if quiet % QUIET_A_STEP == 0:
                    yield
                continue
            yield
            if seen is None or not is_ours or stat.S_ISDIR(seen.st_mode):
                if known is not None:
                    yield from self._left_over(listing, name)
                if seen is not None and is_ours and seen.st_dev == listing.dev:
                    self._append_below(below, place, name)
            else:
                is_alone = looks == self._looker.looks
                yield from self._compare(listing, _Found(name, seen, known), is_alone=is_alone)
                looks += is_alone and looks != self._looker.looks
        return below

    def _append_below(self, below: list[Place], place: Place, name: bytes) -> None:
        if len(below) <= self._entries_max and (inner := self._scope.below(place, name)):
            below.append(inner)

    def _compare(self, listing: _Listing, found: _Found, *, is_alone: bool) -> Steps:
        """Look where something moved; ``is_alone``: nobody else has looked at anything since."""
        path = listing.place.path + b"/" + found.name
        row = found.row
        is_old = row is not None and row.is_as(found.seen) and not row.unsure
        if is_old and row is not None and not self._looker.is_to_judge(path, row):
            return
        yield from self._looker.look_at(
            path,
            found.seen,
            is_baseline=listing.is_baseline,
            before=row if is_alone else UNSET,
        )

    def _left_over(self, listing: _Listing, name: bytes) -> Steps:
        """Settle a row whose name was not in the listing, or is now left out of it."""
        path = listing.place.path + b"/" + name
        if self._scope.excludes(listing.place, name):
            self._looker.forget(path)
        else:
            yield from self._looker.look(path, is_baseline=listing.is_baseline)

    def _settle(self, top: bytes, visited: set[bytes]) -> Steps:
        """Settle the rows of directories that no walk came to: gone, or no longer ours."""
        for directory in directories_below(self._looker.told, top):
            yield
            if directory in visited or self._is_unlisted(directory):
                continue
            for name, _ in rows_in(self._looker.told, directory):
                path = directory + b"/" + name
                if path not in visited:
                    yield from self._settle_file(path)

    def _settle_file(self, path: bytes) -> Steps:
        try:
            is_there = self._looker.stat(path) is not None
        except HostFileError:
            return
        if is_there:
            self._looker.forget(path)
        else:
            yield from self._looker.look(path, is_baseline=False)

    def _not_listed(self, place: Place) -> None:
        self._going.unlisted.add(place.path)

    def _is_unlisted(self, directory: bytes) -> bool:
        return any(above in self._going.unlisted for above in upward(directory))


def _paired(
    names: list[bytes], rows: Iterator[tuple[bytes, FileRow]]
) -> Iterator[tuple[bytes, FileRow | None, bool]]:
    """Yield each name, in order, with its row and whether it is listed."""
    row = next(rows, None)
    for name in names:
        while row is not None and row[0] < name:
            yield *row, False
            row = next(rows, None)
        if row is not None and row[0] == name:
            yield *row, True
            row = next(rows, None)
        else:
            yield name, None, True
    while row is not None:
        yield *row, False
        row = next(rows, None)


def _stat_in(fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None  # gone since it was listed; a row of it is settled by a look


def roots_of(host: HostRoot, pattern: bytes) -> Iterator[bytes]:
    """Yield the paths that a tree's path stands for; each "*" is any directory there."""
    parts = pattern.split(b"/")
    if b"*" not in parts:
        yield pattern
        return
    star = parts.index(b"*")
    head, tail = b"/".join(parts[:star]), parts[star + 1 :]
    names: list[bytes] = []
    try:
        for entry in host.scandir(head or b"/"):
            if entry.is_dir() and len(names) < ROOTS_MAX:
                names.append(os.fsencode(entry.name))
    except (HostFileError, OSError):
        return
    for name in sorted(names):
        yield from roots_of(host, b"/".join([head, name, *tail]))
