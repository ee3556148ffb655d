"""Keeps the indicators `sense` matches with current, and says how current they are.

    start    verify what an earlier run accepted, offline, and map it
    refresh  on coming online, on a hint and every hour or so: a child runs the TUF workflow; a new
             bundle is compared with its signed digest, mapped and swapped in without a restart
    refuse   anything that does not hold: what is in use stays, and a record says why

Matching never waits for any of this. Every swap, every refusal and every change of freshness is a
record to seal.
"""

import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.doorframes import Chunk, Fetch
from agent.sense.contentrecords import (
    NAME,
    health_record,
    refusal_record,
    swap_record,
    unverified_record,
)
from agent.sense.contentstore import NO_INDICATORS, Accepted, BundleCheck, ContentStore
from agent.sense.contentupdate import ContentUpdate, Spawn, UpdatePace, spawn_child
from agent.sense.freshness import freshness, stamp
from agent.sense.tufframes import ChainFacts, Job, Report
from proto.content.errors import ContentError, ContentRefused, RefuseReason
from proto.content.index import MappedIndex
from proto.model import ContentStamp, Freshness, Record
from runtime.backoff import Backoff
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.logs import logger

_LOOK_NS: Final = 600 * NS_PER_S
_SLICE_NS: Final = 20 * NS_PER_MS
_START_PACE: Final = UpdatePace(total_s_max=20, idle_s_max=20)
_IDS_PER_RUN: Final = 1 << 20
# Nobody's fault but the network's: told by freshness, not by a record each time.
_QUIET: Final = frozenset({RefuseReason.UNAVAILABLE, RefuseReason.DEADLINE})
# The verification could not be done, which says nothing against what it would have verified.
_UNDECIDED: Final = frozenset({*_QUIET, RefuseReason.CRASHED})

log = logger(__name__)


class ContentSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The section ``content``."""

    # How often to look for a newer release; a hint from the collector comes on top.
    refresh_interval_s: Annotated[int, Meta(ge=60, le=86_400)] = 3600
    # Two looks are at least so far apart, whatever hints say.
    refresh_interval_s_min: Annotated[int, Meta(ge=1, le=3600)] = 10
    retry_wait_s_first: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    bundle_size_bytes_max: Annotated[int, Meta(ge=1024, le=4 * 1024**3)] = 512 * 1024**2
    # A slow line may take long; a dead one is given up sooner.
    update_s_max: Annotated[int, Meta(ge=10, le=86_400)] = 3600
    update_idle_s_max: Annotated[int, Meta(ge=5, le=3600)] = 120


class ContentPorts(Struct, frozen=True, kw_only=True):
    """What the desk needs of the rest of `sense`.

    Args:
        directory: our own, for content.
        bootstrap: the TUF root that ``trust.json`` pins.
        send: passes a request to `ship`.
        clock: waits and stamps.
        trusted_now: the time we trust, in nanoseconds UTC; decides freshness.
        random: floats in [0, 1), to spread many hosts.
        spawn: starts the child.
    """

    directory: Path
    bootstrap: bytes
    send: Callable[[Fetch], None]
    clock: Clock
    trusted_now: Callable[[], int]
    random: Callable[[], float]
    spawn: Spawn = spawn_child


class Content:
    """The desk; its methods are called from the one loop of `sense`."""

    def __init__(self, settings: ContentSettings, ports: ContentPorts) -> None:
        self._settings = settings
        self._ports = ports
        self._clock = ports.clock
        self._store = ContentStore(ports.directory)
        self._backoff = Backoff(
            wait_s_first=settings.retry_wait_s_first,
            wait_s_max=max(settings.retry_wait_s_first, settings.refresh_interval_s),
            random=ports.random,
        )
        self._update: ContentUpdate | None = None
        self._check: BundleCheck | None = None
        self._report: Report | None = None
        self._is_online = False
        self._runs = 0
        self._next_at: int | None = None
        self._began_at = 0
        self._verified_at: int | None = None
        self._tier: Freshness | None = None
        self._has_looked = False
        self._look_at = 0
        self._last_refusal = ("", "")
        self._index: MappedIndex = NO_INDICATORS

    @property
    def index(self) -> MappedIndex:
        """What to match with now; empty until something was accepted."""
        return self._index

    def start(self) -> Sequence[Record]:
        """Verify what an earlier run accepted and map it; waits for the child, seconds at most.

        A disk that refuses leaves us without indicators, says so, and is tried again later.
        """
        records: list[Record] = []
        try:
            self._store.open()
            self._store.discard()
            while (kept := self._store.state.current) and self._index is NO_INDICATORS:
                records += self._restore(kept)
        except OSError as error:
            refusal = _as_refusal(error)
            records.append(refusal_record(refusal, None, self._clock.wall_ns()))
        records += self._look()
        return records

    def stamp(self) -> ContentStamp | None:
        """Return what findings say of the content they are made with; None without any."""
        current = self._store.state.current
        if current is None or self._index is NO_INDICATORS:
            return None
        now = self._ports.trusted_now()
        tier = freshness(current.facts.expires, now)
        return stamp(NAME, self._index.version, self._index.built_at, tier, now)

    def stamps(self) -> tuple[ContentStamp, ...]:
        """Return what headers say of content."""
        found = self.stamp()
        return () if found is None else (found,)

    def changed(self) -> None:
        """Take the hint that there may be something newer."""
        if self._is_online:
            self._begin_by(self._began_at + self._settings.refresh_interval_s_min * NS_PER_S)

    def online(self, *, is_online: bool) -> None:
        """Take note of whether files can be fetched."""
        if is_online and not self._is_online:
            spread_s = self._ports.random() * self._settings.refresh_interval_s_min
            self._begin_by(self._clock.boot_ns() + int(spread_s * NS_PER_S))
        if not is_online and self._update is not None:
            self._update.stop("the collector cannot be reached")
        self._is_online = is_online

    def descriptors(self) -> Sequence[int]:
        """Return what to wait on for reading."""
        return () if self._update is None else self._update.descriptors()

    def due(self) -> int | None:
        """Return the boot-clock time at which `poll` is wanted."""
        now = self._clock.boot_ns()
        if self._check is not None:
            return now
        wanted = [self._look_at]
        if self._update is not None:
            wanted.append(self._update.deadline or now)
        elif self._is_online and self._next_at is not None:
            wanted.append(self._next_at)
        return min(wanted)

    def poll(self) -> Sequence[Record]:
        """Go on with a refresh; return records of what was accepted or refused."""
        records: list[Record] = []
        try:
            records += self._step()
        except (ContentError, OSError) as error:
            records += self._end_refused(_as_refusal(error))
        records += self._look()
        return records

    def chunk(self, chunk: Chunk) -> None:
        """Take in part of a file that was asked for."""
        if self._update is not None:
            self._update.feed(chunk)

    def stop(self) -> None:
        """End a refresh that is under way."""
        if self._update is not None:
            self._update.stop()
            self._update = None
        self._drop_check()

    # -- a refresh, step by step -----------------------------------------------------------------

    def _step(self) -> list[Record]:
        if self._check is not None:
            return self._compare(self._check)
        if self._update is not None:
            return self._go_on(self._update)
        if self._is_online and self._next_at is not None and self._next_at <= self._clock.boot_ns():
            self._begin()
        return []

    def _begin(self) -> None:
        self._next_at = None
        self._began_at = self._clock.boot_ns()
        pace = UpdatePace(self._settings.update_s_max, self._settings.update_idle_s_max)
        self._update = ContentUpdate(self._job(self._store.state.current), pace, self._clock)
        self._update.start(self._ports.spawn)

    def _go_on(self, update: ContentUpdate) -> list[Record]:
        for fetch in update.on_child_readable():
            self._ports.send(fetch)
        update.tick()
        if update.result is None:
            return []
        self._update = None
        if isinstance(update.result, ContentRefused):
            raise update.result
        self._report = update.result
        if update.result.fetched:
            self._check = BundleCheck(self._store.candidate, update.result.facts)
            return []
        self._store.renew(update.result.facts, update.result.chain)
        self._end_well()
        return []

    def _compare(self, check: BundleCheck) -> list[Record]:
        until = self._clock.boot_ns() + _SLICE_NS
        if self._report is None or not check.step(lambda: self._clock.boot_ns() < until):
            return []
        swap = self._store.take(check, self._report.facts, self._report.chain)
        self._index = swap.index
        self._end_well()
        log.info("content swapped", version=swap.accepted.version, count=swap.accepted.count)
        return [swap_record(swap, self._clock.wall_ns())]

    def _end_well(self) -> None:
        self._drop_check()
        self._backoff.reset()
        self._verified_at = self._clock.wall_ns()
        self._last_refusal = ("", "")
        spread = 0.75 + self._ports.random() / 2
        wait_s = self._settings.refresh_interval_s * spread
        self._begin_by(self._clock.boot_ns() + int(wait_s * NS_PER_S))

    def _end_refused(self, refusal: ContentRefused) -> list[Record]:
        self._drop_check()
        self._store.discard()
        soonest = self._began_at + self._settings.refresh_interval_s_min * NS_PER_S
        retry_at = self._clock.boot_ns() + int(self._backoff.next_s() * NS_PER_S)
        self._begin_by(max(soonest, retry_at))
        told = (refusal.reason.value, refusal.message)
        if told == self._last_refusal:
            return []
        self._last_refusal = told
        log.warning("content not taken", reason=refusal.reason.value, detail=refusal.message)
        if refusal.reason in _QUIET:
            return []
        return [refusal_record(refusal, self._store.state.current, self._clock.wall_ns())]

    def _drop_check(self) -> None:
        if self._check is not None:
            self._check.close()
            self._check = None
        self._report = None

    def _begin_by(self, at: int) -> None:
        self._next_at = at if self._next_at is None else min(at, self._next_at)

    # -- what is in use --------------------------------------------------------------------------

    def _restore(self, kept: Accepted) -> list[Record]:
        """Map a kept bundle, verified against its chain where that can be done; or drop it."""
        at = self._clock.wall_ns()
        try:
            result = self._verify(kept)
            if isinstance(result, Report):
                self._index = self._mapped(result.facts)
                return []
            if result.reason not in _UNDECIDED:
                raise result
            self._index = self._mapped(kept.facts)
        except ContentError as error:
            refusal = _as_refusal(error)
            log.warning("kept content refused", reason=refusal.reason.value)
            self._store.fall_back()
            return [refusal_record(refusal, kept, at)]
        log.warning("kept content not verified", reason=result.reason.value)
        return [unverified_record(result, kept, at)]

    def _verify(self, kept: Accepted) -> Report | ContentRefused:
        update = ContentUpdate(self._job(kept, online=False), _START_PACE, self._clock)
        update.start(self._ports.spawn)
        while update.result is None:
            wait_ns = (update.deadline or 0) - self._clock.boot_ns()
            readable = select.poll()
            for descriptor in update.descriptors():
                readable.register(descriptor, select.POLLIN)
            readable.poll(max(0, wait_ns) / NS_PER_MS)
            update.on_child_readable()
            update.tick()
        return update.result

    def _mapped(self, facts: ChainFacts) -> MappedIndex:
        check = self._store.check(facts)
        try:
            check.step(lambda: True)
            return check.map()
        finally:
            check.close()

    def _job(self, current: Accepted | None, *, online: bool = True) -> Job:
        self._runs += 1
        in_use = current is not None and self._index is not NO_INDICATORS
        return Job(
            directory=str(self._ports.directory),
            bootstrap=self._ports.bootstrap,
            online=online,
            now=self._ports.trusted_now(),
            chain=None if current is None else current.chain,
            have=current.facts.sha256 if current is not None and in_use else b"",
            length_max=self._settings.bundle_size_bytes_max,
            first_id=self._runs * _IDS_PER_RUN,
        )

    def _look(self) -> list[Record]:
        """Return a health record if freshness is not what it was."""
        self._look_at = self._clock.boot_ns() + _LOOK_NS
        found = self.stamp()
        tier = None if found is None else found.freshness
        if tier is self._tier and self._has_looked:
            return []
        self._tier, self._has_looked = tier, True
        return [health_record(tier, self._clock.wall_ns(), self._verified_at)]


def _as_refusal(error: ContentError | OSError) -> ContentRefused:
    if isinstance(error, ContentRefused):
        return error
    if isinstance(error, OSError):
        return ContentRefused(RefuseReason.UNAVAILABLE, f"the disk refuses: {error.strerror}")
    return ContentRefused(RefuseReason.MALFORMED, error.message)
