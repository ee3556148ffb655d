"""The content `sense` has accepted, on disk: bundles, the chain that signs each, and one pointer.

``accepted`` names the bundle in use and the one before with their chains, and is replaced whole;
a bundle is named by its digest and never changes. So a crash leaves one state or the other, and
every start can verify what it maps. Only `sense` can write here; what the child leaves in
``incoming`` is taken by renaming, after its digest was compared with the signed one.
"""

import contextlib
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from agent.sense.tufframes import CACHE, CANDIDATE, INCOMING, Chain, ChainFacts
from certs.digests import Sha256
from proto.content.errors import ContentError, ContentRefused, RefuseReason
from proto.content.index import MappedIndex
from proto.content.layout import DIGEST_BYTES, SALT_BYTES, Release, pack_layout
from runtime.files import fsync_dir, write_atomic

NO_INDICATORS: Final = MappedIndex(
    pack_layout(Release(0, 0, bytes(SALT_BYTES), bytes(DIGEST_BYTES)), 0, ())
)

_STATE: Final = "accepted"
_STATE_BYTES_MAX: Final = 2 * 1024 * 1024
_SLICE_BYTES: Final = 1024 * 1024
_SUFFIX: Final = ".vdx"


class Accepted(Struct, frozen=True, array_like=True):
    """A bundle that was taken into use, and the chain that signs it."""

    version: int
    count: int
    facts: ChainFacts
    chain: Chain


class StoreState(Struct, frozen=True, array_like=True):
    """What ``accepted`` holds."""

    format: Literal[1]
    current: Accepted | None = None
    previous: Accepted | None = None


class Swap(Struct, frozen=True):
    """A bundle that is now in use, and what was before."""

    index: MappedIndex
    accepted: Accepted
    before: Accepted | None


class BundleCheck:
    """Compares a bundle with its signed digest, a slice at a time.

    Args:
        path: the file; a link, a device or another length is refused.
        facts: length and digest, as signed.

    Raises:
        ContentRefused: it cannot be the bundle.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, facts: ChainFacts) -> None:
        self._facts = facts
        self._digest = Sha256()
        self._offset = 0
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ContentRefused(RefuseReason.DIGEST, "the bundle is not there") from error
        found = os.fstat(self.fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != facts.length:
            self.close()
            raise ContentRefused(RefuseReason.DIGEST, "the bundle has another length than signed")

    def step(self, has_time: Callable[[], bool]) -> bool:
        """Read on while there is time and return whether all of it was read and is right.

        Raises:
            ContentRefused: it is not the bundle that was signed.
        """
        while self._offset < self._facts.length:
            data = os.pread(self.fd, _SLICE_BYTES, self._offset)
            if not data:
                raise ContentRefused(RefuseReason.DIGEST, "the bundle was cut while it was read")
            self._digest.update(data)
            self._offset += len(data)
            if not has_time():
                break
        if self._offset < self._facts.length:
            return False
        if self._digest.digest() != self._facts.sha256:
            raise ContentRefused(RefuseReason.DIGEST, "the bundle is not the one that was signed")
        return True

    def map(self) -> MappedIndex:
        """Return the index over the mapped file; the mapping lives as long as the index.

        Raises:
            ContentDamaged: it is signed and yet no index.
            ContentNewer: of a later format than we read.
            OSError: it cannot be mapped.
        """
        with contextlib.closing(self):
            if self._facts.length == 0:
                return MappedIndex(b"")
            return MappedIndex(memoryview(mmap.mmap(self.fd, 0, prot=mmap.PROT_READ)))

    def close(self) -> None:
        """Close the file; a mapping of it stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class ContentStore:
    """The directory.

    Args:
        directory: our own, closed to everyone else.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.candidate = directory / INCOMING / CANDIDATE
        self.state = StoreState(1)

    def open(self) -> None:
        """Make the directories, and read what an earlier run accepted; a damaged state is none.

        Raises:
            OSError: the directory cannot be used.
        """
        for path in (self.directory, self.directory / CACHE, self.directory / INCOMING):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with (self.directory / _STATE).open("rb") as file:
                self.state = msgspec.msgpack.decode(file.read(_STATE_BYTES_MAX), type=StoreState)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.state = StoreState(1)

    def check(self, facts: ChainFacts) -> BundleCheck:
        """Begin to compare a bundle that is kept with what its chain signs.

        Raises:
            ContentRefused: it is not there.
            OSError: it cannot be opened.
        """
        return BundleCheck(self._path(facts), facts)

    def renew(self, facts: ChainFacts, chain: Chain) -> None:
        """Keep a newer chain for the bundle in use.

        Raises:
            ContentRefused: it signs another bundle.
            OSError: it cannot be made durable.
        """
        current = self.state.current
        if current is None or current.facts.sha256 != facts.sha256:
            raise ContentRefused(RefuseReason.CRASHED, "the chain is for another bundle")
        renewed = Accepted(current.version, current.count, facts, chain)
        self._write(StoreState(1, renewed, self.state.previous))

    def take(self, check: BundleCheck, facts: ChainFacts, chain: Chain) -> Swap:
        """Take a compared candidate into use.

        Args:
            check: has answered that all of it is right.
            facts: what the chain says.
            chain: kept to verify the bundle again at the next start.

        Raises:
            ContentRefused: no index, an older release, or one that shrank and is not signed
                offline.
            OSError: it cannot be made durable; what was in use stays.
        """
        try:
            index = check.map()
        except ContentError as error:
            raise ContentRefused(RefuseReason.MALFORMED, error.message) from error
        before = self.state.current
        if before is not None:
            _check_successor(before, index, facts)
        self.candidate.rename(self._path(facts))
        fsync_dir(self.candidate.parent)
        fsync_dir(self.directory)
        accepted = Accepted(index.version, index.count, facts, chain)
        self._write(StoreState(1, accepted, before))
        self._sweep()
        return Swap(index, accepted, before)

    def fall_back(self) -> None:
        """Go back to the release before, because the current one is no good.

        A disk that refuses to note it makes the next start come to the same end.
        """
        self.state = StoreState(1, self.state.previous, None)
        with contextlib.suppress(OSError):
            self._write(self.state)

    def discard(self) -> None:
        """Delete what the child left, as far as the disk lets us: the next child writes over it."""
        with contextlib.suppress(OSError):
            for path in (self.directory / INCOMING).iterdir():
                path.unlink(missing_ok=True)

    def _write(self, state: StoreState) -> None:
        write_atomic(self.directory / _STATE, msgspec.msgpack.encode(state))
        self.state = state

    def _sweep(self) -> None:
        kept = {
            self._path(accepted.facts).name
            for accepted in (self.state.current, self.state.previous)
            if accepted is not None
        }
        for path in self.directory.glob(f"*{_SUFFIX}"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _path(self, facts: ChainFacts) -> Path:
        return self.directory / f"{facts.sha256.hex()}{_SUFFIX}"


def accepted_bundle(directory: Path) -> Path | None:
    """Return the bundle in use, for a reader that changes nothing; None where there is none."""
    try:
        with (directory / _STATE).open("rb") as file:
            state = msgspec.msgpack.decode(file.read(_STATE_BYTES_MAX), type=StoreState)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if state.current is None:
        return None
    path = directory / f"{state.current.facts.sha256.hex()}{_SUFFIX}"
    return path if path.is_file() else None


def _check_successor(before: Accepted, index: MappedIndex, facts: ChainFacts) -> None:
    """Refuse what a thief of the online key could do; the offline key may do both."""
    if facts.role == "targets":
        return
    if index.version <= before.version:
        raise ContentRefused(
            RefuseReason.ROLLBACK,
            f"release {index.version} is not newer than {before.version}, which is in use",
        )
    if index.count * 2 < before.count:
        raise ContentRefused(
            RefuseReason.SHRINK,
            f"{index.count} indicators instead of {before.count}: less than half",
            hint="a release that shrinks so far must be signed by the offline targets key",
        )
