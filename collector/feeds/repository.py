"""The content repository on disk: what hosts mirror, and nothing else.

``metadata/`` and ``targets/`` hold files under names that say their version or digest and never
change (consistent snapshots), and ``metadata/timestamp.json``, the one that does. A release is
published by replacing that file last: a crash before leaves the old release whole, and the files of
the new one are overwritten by the next try. The repository is its own state: it is read back and
verified before anything is signed on top of it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # it has no __all__
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from collector.feeds.errors import NotInitialised, RepositoryDamaged
from collector.feeds.keys import INDICATORS
from collector.feeds.metadata import TARGET_NAME, target_digest
from proto.content.names import METADATA, TARGETS
from runtime.files import fsync_dir, write_atomic

# A host that began with the release before may still be reading it.
UNUSED_KEPT_S: Final = 3600
_FILE_BYTES_MAX: Final = 8 * 1024**2
_PUBLIC: Final = 0o644

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


class Piece(Struct, frozen=True):
    """One metadata file: its bytes, and what they say; ``expires`` in seconds since 1970."""

    data: bytes
    version: int
    expires: int


class Published(Struct, frozen=True, kw_only=True):
    """What hosts see now."""

    root: Piece
    timestamp: Piece
    snapshot: Piece
    targets: Piece
    indicators: Piece
    target: TargetFile | None


class Repository:
    """The published directory.

    Args:
        directory: holds ``metadata/`` and ``targets/``.
    """

    def __init__(self, directory: Path) -> None:
        self._metadata = directory / METADATA
        self._targets = directory / TARGETS / INDICATORS

    def prepare(self) -> None:
        """Make the directories, readable by whoever serves them.

        Raises:
            OSError: they cannot be made.
        """
        for path in (self._metadata, self._targets):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)

    def has_root(self) -> bool:
        """Return whether the repository was ever begun."""
        return (self._metadata / "1.root.json").exists()

    def first_root(self) -> bytes:
        """Return the root metadata that hosts are given as their anchor.

        Raises:
            NotInitialised: there is none.
            RepositoryDamaged: it cannot be read.
        """
        if not self.has_root():
            raise NotInitialised(
                f"there is no content repository in {self._metadata.parent}",
                hint="run vedette-collector init first",
            )
        return self._read("1.root.json")

    def load(self) -> Published:
        """Read back what hosts see and verify it as they would, expiry apart.

        Raises:
            NotInitialised: nothing is published yet.
            RepositoryDamaged: a file is missing, changed, or not signed by its role.
        """
        if not self.has_root() or not (self._metadata / "timestamp.json").exists():
            raise NotInitialised(
                f"nothing is published in {self._metadata.parent}",
                hint="run vedette-collector init first",
            )
        try:
            return self._load()
        except (RepositoryError, ValueError, KeyError) as error:
            raise RepositoryDamaged(
                f"the content repository in {self._metadata.parent} is damaged: {error}",
                hint="restore it from a backup, or begin a new one and hand out its root",
            ) from error

    def read_target(self, target: TargetFile) -> bytes:
        """Return a published bundle.

        Raises:
            RepositoryDamaged: it is missing or not the one that was signed.
        """
        path = self._target_path(target)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RepositoryDamaged(f"cannot read {path}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != target_digest(target):
            raise RepositoryDamaged(f"{path} is not the file that was signed")
        return data

    def put_target(self, target: TargetFile, data: bytes) -> None:
        """Store a bundle under its digest.

        Raises:
            OSError: it cannot be made durable.
        """
        write_atomic(self._target_path(target), data, mode=_PUBLIC)

    def put(self, role: str, version: int, data: bytes) -> None:
        """Store a metadata file under its version.

        Raises:
            OSError: it cannot be made durable.
        """
        write_atomic(self._metadata / f"{version}.{role}.json", data, mode=_PUBLIC)

    def publish(self, timestamp: bytes) -> None:
        """Let hosts see what was stored: the one step that counts.

        Raises:
            OSError: it cannot be made durable.
        """
        write_atomic(self._metadata / "timestamp.json", timestamp, mode=_PUBLIC)

    def sweep(self, now: int) -> None:
        """Delete files that hosts no longer see: old releases, and tries that came to nothing.

        Done before a release, so that a host still reading the one before finds its files.

        Args:
            now: seconds since 1970.

        Raises:
            NotInitialised: nothing is published.
            RepositoryDamaged: what is published cannot be read.
            OSError: a file cannot be deleted.
        """
        published = self.load()
        used = {
            f"{published.snapshot.version}.snapshot.json",
            f"{published.targets.version}.targets.json",
            f"{published.indicators.version}.{INDICATORS}.json",
            "timestamp.json",
        }
        roots = {path.name for path in self._metadata.glob("*.root.json")}
        _sweep(self._metadata, used | roots, now)
        kept = {self._target_path(published.target).name} if published.target else set()
        _sweep(self._targets, kept, now)

    def _load(self) -> Published:
        root_version = max(_versions(self._metadata, "root"))
        root, root_piece = self._signed(f"{root_version}.root.json", Root)
        root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
        timestamp, timestamp_piece = self._signed("timestamp.json", Timestamp)
        root.signed.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
        meta = timestamp.signed.snapshot_meta
        snapshot, snapshot_piece = self._signed(f"{meta.version}.snapshot.json", Snapshot)
        meta.verify_length_and_hashes(snapshot_piece.data)
        root.signed.verify_delegate("snapshot", snapshot.signed_bytes, snapshot.signatures)
        targets, targets_piece = self._part(snapshot.signed, "targets")
        root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
        indicators, indicators_piece = self._part(snapshot.signed, INDICATORS)
        targets.signed.verify_delegate(INDICATORS, indicators.signed_bytes, indicators.signatures)
        return Published(
            root=root_piece,
            timestamp=timestamp_piece,
            snapshot=snapshot_piece,
            targets=targets_piece,
            indicators=indicators_piece,
            target=indicators.signed.targets.get(TARGET_NAME),
        )

    def _part(self, snapshot: Snapshot, role: str) -> tuple[Metadata[Targets], Piece]:
        meta = snapshot.meta[f"{role}.json"]
        metadata, piece = self._signed(f"{meta.version}.{role}.json", Targets)
        meta.verify_length_and_hashes(piece.data)
        return metadata, piece

    def _signed(self, name: str, kind: type[T]) -> tuple[Metadata[T], Piece]:
        data = self._read(name)
        metadata: Metadata[T] = Metadata.from_bytes(data)
        if not isinstance(metadata.signed, kind):
            raise RepositoryDamaged(f"{name} is metadata of another role")
        expires = int(metadata.signed.expires.timestamp())
        return metadata, Piece(data, metadata.signed.version, expires)

    def _read(self, name: str) -> bytes:
        path = self._metadata / name
        try:
            with path.open("rb") as file:
                return file.read(_FILE_BYTES_MAX)
        except OSError as error:
            raise RepositoryDamaged(f"cannot read {path}: {error.strerror}") from error

    def _target_path(self, target: TargetFile) -> Path:
        name = TARGET_NAME.rpartition("/")[2]
        return self._targets / f"{target_digest(target)}.{name}"


def _versions(directory: Path, role: str) -> Iterable[int]:
    for path in directory.glob(f"*.{role}.json"):
        number = path.name.partition(".")[0]
        if number.isdigit():
            yield int(number)


def _sweep(directory: Path, used: set[str], now: int) -> None:
    swept = False
    for path in directory.iterdir():
        if path.name not in used and now - path.stat().st_mtime > UNUSED_KEPT_S:
            path.unlink()
            swept = True
    if swept:
        fsync_dir(directory)
