"""Begins a content repository, publishes releases into it and keeps its signatures fresh.

Every operation may be repeated and may be cut off anywhere: hosts see the state before or after it
(`collector.feeds.repository`). One process at a time holds the lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from collector.feeds.errors import NotInitialised, OfflineKeyNeeded
from collector.feeds.keys import (
    INDICATORS,
    OnlineKeys,
    create_offline,
    create_online,
    load_offline,
    load_online,
)
from collector.feeds.metadata import (
    NS_PER_S,
    Term,
    describe_target,
    sign_indicators,
    sign_root,
    sign_snapshot,
    sign_targets,
    sign_timestamp,
    target_digest,
)
from collector.feeds.repository import Piece, Published, Repository
from collector.feeds.settings import FeedsSettings, SigningSettings
from proto.content.errors import ContentRefused, RefuseReason
from proto.content.index import MappedIndex
from runtime.clock import Clock
from runtime.files import FileLock

_S_PER_DAY: Final = 24 * 3600
_S_PER_HOUR: Final = 3600
_SHRINK_LEAST: Final = 2


class Release(Struct, frozen=True):
    """What is published: release number, how many indicators, built from what."""

    version: int
    indicators: int
    size: int
    source: bytes


class Publisher:
    """The content repository of a collector.

    Args:
        settings: where it lies and how long signatures last.
        clock: stamps signatures.
    """

    def __init__(self, settings: FeedsSettings, clock: Clock) -> None:
        state = Path(settings.state)
        self._state = state
        self._keys = state / "keys"
        self._signing: SigningSettings = settings.signing
        self._clock = clock
        self._repository = Repository(content_dir(settings))

    def init(self, offline: Path) -> bytes:
        """Make keys and first metadata where there are none, and return the root for hosts.

        Args:
            offline: where the offline keys go; they should leave the collector afterwards.

        Raises:
            KeyUnusable: a key cannot be written or is no good.
            AlreadyRunning: another process works on the repository.
            OSError: a file cannot be made durable.
        """
        self._state.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._locked():
            self._repository.prepare()
            if not self._repository.has_root():
                self._begin(offline)
            return self._repository.first_root()

    def root(self) -> bytes:
        """Return the root metadata that hosts are given as their anchor.

        Raises:
            NotInitialised: there is none.
            RepositoryDamaged: it cannot be read.
        """
        return self._repository.first_root()

    def current(self) -> Release | None:
        """Return what is published; None before the first release.

        Raises:
            NotInitialised: there is no repository.
            RepositoryDamaged: its files are not what our keys signed.
            ContentDamaged: the published bundle is no index.
        """
        return self._release(self._repository.load())

    def stage(self, data: bytes, *, force: bool = False) -> Release:
        """Publish an index; the one that is published already changes nothing.

        Args:
            data: the index.
            force: publish a release that lists less than half of the one before.

        Raises:
            ContentDamaged: not an index.
            ContentRefused: an older release, or one that shrank and is not forced.
            OfflineKeyNeeded: root or targets have expired, so no host would take it.
            NotInitialised: there is no repository.
            RepositoryDamaged: its files are not what our keys signed.
            KeyUnusable: an online key is no good.
            AlreadyRunning: another process works on the repository.
            OSError: a file cannot be made durable.
        """
        index = MappedIndex(data)
        index.check()
        with self._locked():
            keys, published = load_online(self._keys), self._repository.load()
            self._check_offline_terms(published)
            release = Release(index.version, index.count, len(data), index.source)
            target = describe_target(data)
            if published.target and target_digest(published.target) == target_digest(target):
                return release
            _check_successor(self._release(published), release, force=force)
            self._repository.sweep(self._now())
            self._repository.put_target(target, data)
            term = self._next(published.indicators, self._signing.indicators_days * _S_PER_DAY)
            indicators = Piece(sign_indicators(term, target, keys), term.version, term.expires)
            self._repository.put(INDICATORS, term.version, indicators.data)
            self._publish(keys, published, published.targets, indicators)
            return release

    def refresh(self) -> tuple[str, ...]:
        """Sign again what has used up half of its term, and return those roles.

        Raises:
            OfflineKeyNeeded: root or targets have expired.
            NotInitialised: there is no repository.
            RepositoryDamaged: its files are not what our keys signed.
            KeyUnusable: an online key is no good.
            AlreadyRunning: another process works on the repository.
            OSError: a file cannot be made durable.
        """
        with self._locked():
            keys, published = load_online(self._keys), self._repository.load()
            self._check_offline_terms(published)
            signed = []
            indicators = published.indicators
            if self._is_due(indicators, self._signing.indicators_days * _S_PER_DAY):
                term = self._next(indicators, self._signing.indicators_days * _S_PER_DAY)
                data = sign_indicators(term, published.target, keys)
                indicators = Piece(data, term.version, term.expires)
                self._repository.put(INDICATORS, term.version, data)
                signed.append(INDICATORS)
            if signed or self._is_due(published.snapshot, self._signing.snapshot_days * _S_PER_DAY):
                self._publish(keys, published, published.targets, indicators)
                signed += ["snapshot", "timestamp"]
            elif self._is_due(published.timestamp, self._signing.timestamp_hours * _S_PER_HOUR):
                self._publish_timestamp(keys, published.timestamp, published.snapshot)
                signed.append("timestamp")
            return tuple(signed)

    def renew(self, offline: Path) -> tuple[str, ...]:
        """Sign root and targets for another term with the offline keys.

        Args:
            offline: the directory that ``init`` wrote them to.

        Raises:
            OfflineKeyNeeded: the keys are not there.
            KeyUnusable: one of them is no good.
            NotInitialised: there is no repository.
            RepositoryDamaged: its files are not what our keys signed.
            AlreadyRunning: another process works on the repository.
            OSError: a file cannot be made durable.
        """
        with self._locked():
            keys, held = load_online(self._keys), load_offline(offline)
            published = self._repository.load()
            root = Term(
                published.root.version + 1, self._now() + self._signing.root_days * _S_PER_DAY
            )
            self._repository.put("root", root.version, sign_root(root, held, keys))
            term = Term(
                published.targets.version + 1, self._now() + self._signing.targets_days * _S_PER_DAY
            )
            targets = Piece(sign_targets(term, held, keys), term.version, term.expires)
            self._repository.put("targets", term.version, targets.data)
            self._publish(keys, published, targets, published.indicators)
            return ("root", "targets", "snapshot", "timestamp")

    def offline_days_left(self) -> int:
        """Return in how many days the offline keys are needed; negative when they were.

        Raises:
            NotInitialised: there is no repository.
            RepositoryDamaged: its files are not what our keys signed.
        """
        published = self._repository.load()
        return (min(published.root.expires, published.targets.expires) - self._now()) // _S_PER_DAY

    def _begin(self, offline: Path) -> None:
        """Write everything but the root, then the root: it marks that the rest is there."""
        held, keys = create_offline(offline), create_online(self._keys)
        now = self._now()
        term = Term(1, now + self._signing.targets_days * _S_PER_DAY)
        targets = Piece(sign_targets(term, held, keys), term.version, term.expires)
        self._repository.put("targets", 1, targets.data)
        term = Term(now, now + self._signing.indicators_days * _S_PER_DAY)
        indicators = Piece(sign_indicators(term, None, keys), term.version, term.expires)
        self._repository.put(INDICATORS, term.version, indicators.data)
        self._publish(keys, None, targets, indicators)
        root = Term(1, now + self._signing.root_days * _S_PER_DAY)
        self._repository.put("root", 1, sign_root(root, held, keys))

    def _publish(
        self, keys: OnlineKeys, before: Published | None, targets: Piece, indicators: Piece
    ) -> None:
        parts = {
            "targets": (targets.version, targets.data),
            INDICATORS: (indicators.version, indicators.data),
        }
        term = self._next(
            before.snapshot if before else None, self._signing.snapshot_days * _S_PER_DAY
        )
        snapshot = Piece(sign_snapshot(term, parts, keys), term.version, term.expires)
        self._repository.put("snapshot", term.version, snapshot.data)
        self._publish_timestamp(keys, before.timestamp if before else None, snapshot)

    def _publish_timestamp(self, keys: OnlineKeys, before: Piece | None, snapshot: Piece) -> None:
        term = self._next(before, self._signing.timestamp_hours * _S_PER_HOUR)
        self._repository.publish(sign_timestamp(term, (snapshot.version, snapshot.data), keys))

    def _next(self, before: Piece | None, life_s: int) -> Term:
        now = self._now()
        return Term(max(now, before.version + 1 if before else 1), now + life_s)

    def _is_due(self, piece: Piece, life_s: int) -> bool:
        return piece.expires - self._now() < life_s // 2

    def _check_offline_terms(self, published: Published) -> None:
        for role, piece in (("root", published.root), ("targets", published.targets)):
            if piece.expires <= self._now():
                raise OfflineKeyNeeded(
                    f"the signature of {role} has expired: hosts keep what they have",
                    hint="run vedette-collector content sign --offline-keys DIR",
                )

    def _release(self, published: Published) -> Release | None:
        if published.target is None:
            return None
        data = self._repository.read_target(published.target)
        index = MappedIndex(data)
        return Release(index.version, index.count, len(data), index.source)

    def _now(self) -> int:
        return self._clock.wall_ns() // NS_PER_S

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._state.is_dir():
            raise NotInitialised(
                f"there is no {self._state}", hint="run vedette-collector init first"
            )
        lock = FileLock(self._state / "lock")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()


def content_dir(settings: FeedsSettings) -> Path:
    """Return the directory that is served to hosts."""
    return Path(settings.state) / "content"


def _check_successor(old: Release | None, new: Release, *, force: bool) -> None:
    if old is None:
        return
    if new.version <= old.version:
        raise ContentRefused(
            RefuseReason.ROLLBACK,
            f"release {new.version} is not newer than the published {old.version}",
        )
    if new.indicators * _SHRINK_LEAST < old.indicators and not force:
        raise ContentRefused(
            RefuseReason.SHRINK,
            f"{new.indicators} indicators instead of {old.indicators}: less than half",
            hint="see which feed failed; force the release if this is right",
        )
