"""States an inventory once, then only what came and went, and all of it again now and then.

A sensor of this kind has some listings and compares each with what it has told. An upgrade is one
version gone and another come. Once in an interval, at a time of this host's own, everything is
stated again as it was told; also when somebody asks, at most so often. A stop in the middle goes on
where it was.
"""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.ports import POLL_SIGHTINGS_MAX, Ease, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.listings import (
    Listed,
    Listing,
    Look,
    Thing,
    Unread,
    decode_thing,
    encode_thing,
)
from agent.sense.sensors.told import Opening, StateLost, Told, ToldLimits
from proto import model
from proto.model import Change, HealthState, InventoryItem, Observation, ObservationKind, Package
from runtime.clock import NS_PER_S, Clock

# A package manager writes several times in one run; half a run is not worth telling.
SETTLE_NS: Final = 2 * NS_PER_S
_JOURNAL_ROWS_MAX: Final = 65_536
_SIGHTINGS_A_STEP: Final = 4
_PAGE_ROWS: Final = 256
_SLOWER: Final = 4

_ITEMS: Final = b"i:"
_ITEMS_END: Final = b"i;"
_FULL_KEY: Final = b"!full"
_BEGUN_KEY: Final = b"!begun"
_STATING_KEY: Final = b"!stating"

_Steps = Generator[None, None, None]


class FullSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """When all is stated again although nothing changed."""

    # Once in so many seconds, the first time up to half of it earlier: hosts do not speak together.
    interval_s: Annotated[int, Meta(ge=600, le=2_592_000)] = 86_400
    # Whoever asks for it gets it at most this often.
    asked_interval_s_min: Annotated[int, Meta(ge=60, le=604_800)] = 3600


class InventorySensor:
    """Tells the inventory of its listings and its changes.

    Args:
        listings: of kinds that do not overlap.
        clock: paces and stamps.
        told: our state; see `state_of`.
        full: when all is stated again.
    """

    spec: SensorSpec
    # A host on which none of these is to be had is not seen.
    needed: frozenset[str] = frozenset()

    def __init__(
        self, listings: Sequence[Listing], clock: Clock, told: Told, full: FullSettings
    ) -> None:
        self._listings = {listing.name: listing for listing in listings}
        self._clock = clock
        self._told = told
        self._full = full
        self._out: list[Sighting] = []
        self._steps: _Steps | None = None
        self._due: dict[str, int] = {}
        self._lost: Opening | None = None
        self._is_replaying = False
        self._last_success = 0
        self._problems: dict[str, str] = {}
        self._absent: dict[str, str] = {}
        self._odd: dict[str, int] = {}
        self._is_asked = False
        self._ease = Ease.NORMAL
        self._stated_at: int | None = None

    def start(self, cursor: bytes) -> None:
        """Open the state; what was told and not sealed is told first."""
        self.stop()
        for listing in self._listings.values():
            if listing.watch is not None:
                listing.watch.open()
        self._is_replaying = True
        self._begin(self._told.open(cursor))

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptors, where there are any."""
        watches = (listing.watch for listing in self._listings.values())
        return tuple(w.fileno() for w in watches if w is not None and w.fileno() >= 0)

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        if not self._due:
            return None
        is_busy = self._is_replaying or self._is_asked or self._steps is not None
        return 0 if is_busy else min(self._due.values())

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Compare the listings with what was told, as far as the deadline lets us."""
        if not self._due:
            return ()
        out = self._out = []
        try:
            if self._is_replaying:
                again = self._told.replay(POLL_SIGHTINGS_MAX)
                self._is_replaying = len(again) == POLL_SIGHTINGS_MAX
                return again
            self._is_asked = False
            self._heed_watches()
            self._work(deadline)
            self._told.commit(self._clock.wall_ns())
        except StateLost as error:
            self._begin(self._told.reopen(f"the state was damaged: {error.message}"))
        return out

    def restate(self) -> None:
        """State everything again, unless that was done not long ago."""
        if self._due and self._may_state():
            self._state_all()

    def ease(self, level: Ease) -> None:
        """Look less often, or as often as configured."""
        self._ease = level
        now = self._clock.boot_ns()
        for name in self._due:
            self._due[name] = min(self._due[name], self._next_look(self._listings[name], now))

    def cursor(self) -> bytes:
        """Return the generation up to which `poll` has told."""
        return self._told.cursor()

    def health(self) -> SensorHealth:
        """Return which listings can be read."""
        reasons = [*self._problems.values()]
        if self.needed and self.needed <= self._absent.keys():
            reasons += [self._absent[name] for name in sorted(self.needed)]
        if self._told.problem:
            reasons.append(self._told.problem)
        reasons += [f"{odd} entries of {name} make no sense" for name, odd in self._odd.items()]
        state = HealthState.DEGRADED if reasons else HealthState.OK
        if not self._due or not self._last_success:
            state = HealthState.BLIND
            reasons = reasons or ["not read yet"]
        return SensorHealth(
            state=state,
            rung="inotify" if self.descriptors() else "poll",
            reason="; ".join(reasons),
            last_success=self._last_success,
            dropped=sum(self._odd.values()) + self._told.forgotten,
        )

    def stop(self) -> None:
        """Close inotify and the state."""
        self._drop_steps()
        for listing in self._listings.values():
            if listing.watch is not None:
                listing.watch.close()
        self._told.close()
        self._due = {}

    # ------------------------------------------------------------------------- the work

    def _begin(self, opening: Opening) -> None:
        self._drop_steps()
        self._is_replaying = self._is_replaying and not opening.is_new
        self._lost = opening if opening.lost else None
        self._due = dict.fromkeys(self._listings, 0)

    def _drop_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def _heed_watches(self) -> None:
        for name, listing in self._listings.items():
            if listing.watch is not None and listing.watch.was_replaced():
                self._due[name] = min(self._due[name], self._clock.boot_ns() + SETTLE_NS)

    def _work(self, deadline: int) -> None:
        if self._steps is None:
            self._steps = self._next_steps()
        room = POLL_SIGHTINGS_MAX - _SIGHTINGS_A_STEP
        while self._steps is not None and len(self._out) <= room:
            if next(self._steps, self) is self:
                # The next look at the same listing has to find what this one told.
                self._told.commit(self._clock.wall_ns())
                self._steps = self._next_steps()
            if self._clock.boot_ns() >= deadline:
                return

    def _next_steps(self) -> _Steps | None:
        """Return what is to be done now: a listing that is due, else a statement of everything."""
        now = self._clock.boot_ns()
        for name, listing in self._listings.items():
            if now >= self._due[name]:
                self._due[name] = self._next_look(listing, now)
                self._tell_loss()
                return self._compare(listing)
        self._note_full()
        return self._state_again() if self._told.get(_STATING_KEY) is not None else None

    def _next_look(self, listing: Listing, now: int) -> int:
        """Return when to look without being woken: at multiples, together with others."""
        slower = 1 if self._ease is Ease.NORMAL else _SLOWER
        interval = listing.interval_s * slower * NS_PER_S
        return (now // interval + 1) * interval

    # ------------------------------------------------------------------------- one listing

    def _compare(self, listing: Listing) -> _Steps:
        if listing.watch is not None and listing.watch.fileno() < 0:
            listing.watch.open()
        stamp_key = b"!stamp:" + listing.name.encode()
        baseline_key = b"!baseline:" + listing.name.encode()
        try:
            look = listing.look()
            if look.stamp and self._told.get(stamp_key) == look.stamp:
                self._success(listing, "", self._odd.get(listing.name, 0))
                return
            listed = yield from listing.read()
        except Unread as error:
            self._note_unread(listing, error, is_news=self._told.get(baseline_key) is not None)
            return
        is_baseline = self._told.get(baseline_key) is None
        yield from _Differences(self, listing, look, is_baseline=is_baseline).tell(listed)
        if listed.things or not listed.problem:
            self._told.put(baseline_key, b"1")
        self._told.put(stamp_key, b"" if listed.problem else look.stamp)
        self._success(listing, listed.problem, listed.odd)

    def _note_unread(self, listing: Listing, error: Unread, *, is_news: bool) -> None:
        """Keep what is amiss; that there is nothing of a kind is amiss where there was once."""
        self._forget_problem(listing)
        if error.is_absent and not is_news:
            self._absent[listing.name] = error.message
        else:
            self._problems[listing.name] = error.message

    def _forget_problem(self, listing: Listing) -> None:
        self._problems.pop(listing.name, None)
        self._absent.pop(listing.name, None)

    def _success(self, listing: Listing, problem: str, odd: int) -> None:
        self._forget_problem(listing)
        self._odd.pop(listing.name, None)
        if odd:
            self._odd[listing.name] = odd
        if problem:
            self._problems[listing.name] = problem
        self._last_success = self._clock.wall_ns()
        self._told.note_seen(self._last_success)

    # ------------------------------------------------------------------------- everything again

    def _note_full(self) -> None:
        """Begin to state everything where a new interval has begun."""
        begun = self._told.get(_BEGUN_KEY)
        if begun is None:
            # All was stated a moment ago, for the first time.
            begun = b"%d" % (self._clock.wall_ns() // NS_PER_S)
            self._told.put(_BEGUN_KEY, begun)
            self._told.put(_FULL_KEY, b"%d" % self._slot(begun))
            self._stated_at = self._clock.boot_ns()
            return
        slot = b"%d" % self._slot(begun)
        if self._told.get(_FULL_KEY) != slot and self._may_state():
            self._told.put(_FULL_KEY, slot)
            self._state_all()

    def _slot(self, begun: bytes) -> int:
        """Return the number of the interval that we are in.

        The first is shorter than the others, by up to a half as our id says: hosts that were set up
        together do not speak together.
        """
        interval = self._full.interval_s
        shorter = int.from_bytes(self._told.id[:8], "big") % interval // 2
        return (self._clock.wall_ns() // NS_PER_S - int(begun) + shorter) // interval

    def _may_state(self) -> bool:
        """Tell whether everything was stated long enough ago; clocks that jump ask for it too."""
        wait = self._full.asked_interval_s_min * NS_PER_S
        return self._stated_at is None or self._clock.boot_ns() >= self._stated_at + wait

    def _state_all(self) -> None:
        self._stated_at = self._clock.boot_ns()
        self._is_asked = True
        self._told.put(_STATING_KEY, _ITEMS)

    def _state_again(self) -> _Steps:
        """State every row as present; the place reached is kept with what was told."""
        at = self._told.get(_STATING_KEY) or _ITEMS
        while page := self._told.between(at, _ITEMS_END, _PAGE_ROWS):
            for key, _ in page:
                at = key + b"\0"
                self._told.put(_STATING_KEY, at)
                name = key[len(_ITEMS) :].partition(b":")[0].decode("ascii", "replace")
                listing, row = self._listings.get(name), self._told.get(key)
                if listing is not None and row is not None:
                    thing = listing.fresh(_decoded(row))
                    self.tell_item(listing, Change.PRESENT, thing)
                yield
        self._told.put(_STATING_KEY, None)

    # ------------------------------------------------------------------------- telling

    def tell_item(self, listing: Listing, change: Change, thing: Thing) -> None:
        """Tell of one item."""
        item = model.Entity(model.Role.TARGET, thing)
        now = self._clock.wall_ns()
        self._tell(InventoryItem(change, item, now, self._source(listing)))

    def tell_observation(
        self, listing: Listing, kind: ObservationKind, package: Package, at: int
    ) -> None:
        """Tell what happened to a package, for whatever judges."""
        now = self._clock.wall_ns()
        self._tell(
            Observation(
                kind=kind,
                source=self._source(listing),
                event_time=at or now,
                event_precision=model.Precision.POLL,
                observed_at=now,
                subject=model.Entity(model.Role.TARGET, package),
            )
        )

    def _tell_loss(self) -> None:
        """Say that changes may have gone untold, where the state was lost."""
        if self._lost is not None:
            drop = model.Drop(
                reason=model.DropReason.SOURCE_GAP,
                sensor=self.spec.name,
                first=self._lost.seen,
                last=self._clock.wall_ns(),
                last_boot=self._clock.boot_ns(),
                detail=f"{self._lost.lost}; the inventory is stated again",
            )
            self._lost = None
            self._tell(drop)

    def _tell(self, sighting: Sighting) -> None:
        self._told.tell(sighting)
        self._out.append(sighting)

    def _source(self, listing: Listing) -> model.Source:
        return model.Source(self.spec.name, listing.name, listing.coverage)

    @property
    def told(self) -> Told:
        """The state that differences are found against."""
        return self._told


class _Differences:
    """Tells how one listing differs from its rows, a row a step."""

    def __init__(
        self, sensor: InventorySensor, listing: Listing, look: Look, *, is_baseline: bool
    ) -> None:
        self._sensor = sensor
        self._listing = listing
        self._at = look.changed_at
        self._is_baseline = is_baseline
        self._first = _ITEMS + listing.name.encode() + b":"
        self._last = _ITEMS + listing.name.encode() + b";"

    def tell(self, listed: Listed) -> _Steps:
        """Walk rows and things together in the order of their keys, a page at a time."""
        told = self._sensor.told
        keys = sorted(listed.things)
        done, low = 0, self._first
        while True:
            page = dict(told.between(low, self._last, _PAGE_ROWS))
            end = next(reversed(page)) if len(page) == _PAGE_ROWS else self._last
            for key in page:
                is_gone = key[len(self._first) :] not in listed.things and not listed.problem
                # What is not written yet is newer than the page.
                if is_gone and (row := told.get(key)) is not None:
                    told.put(key, None)
                    self._removed(_decoded(row))
                yield
            while done < len(keys) and self._first + keys[done] <= end:
                key = self._first + keys[done]
                self._compare(key, page.get(key), listed.things[keys[done]])
                done += 1
                yield
            if end == self._last:
                return
            low = end + b"\0"

    def _compare(self, key: bytes, row: bytes | None, thing: Thing) -> None:
        new = encode_thing(thing)
        if row == new or (row := self._sensor.told.get(key)) == new:
            return
        before = None if row is None else _decoded(row)
        if before is not None and self._listing.is_same(before, thing):
            return
        self._sensor.told.put(key, new)
        if before is None:
            self._added(thing)
        elif _version(before) == _version(thing):
            self._sensor.tell_item(self._listing, Change.PRESENT, thing)
        else:
            self._sensor.tell_item(self._listing, Change.REMOVED, before)
            self._added(thing, is_baseline=False)

    def _added(self, thing: Thing, *, is_baseline: bool | None = None) -> None:
        if self._is_baseline if is_baseline is None else is_baseline:
            self._sensor.tell_item(self._listing, Change.PRESENT, thing)
            return
        self._sensor.tell_item(self._listing, Change.ADDED, thing)
        self._happened(ObservationKind.PACKAGE_INSTALLED, thing)

    def _removed(self, thing: Thing) -> None:
        self._sensor.tell_item(self._listing, Change.REMOVED, thing)
        self._happened(ObservationKind.PACKAGE_REMOVED, thing)

    def _happened(self, kind: ObservationKind, thing: Thing) -> None:
        if isinstance(thing, Package):
            self._sensor.tell_observation(self._listing, kind, thing, self._at)


def state_of(path: Path, size_bytes_max: int) -> Told:
    """Return the state of an inventory, not open; its directory belongs to `sense` alone."""
    return Told(path, ToldLimits(size_bytes_max, _JOURNAL_ROWS_MAX))


def _version(thing: Thing) -> str:
    return thing.version if isinstance(thing, Package) else ""


def _decoded(row: bytes) -> Thing:
    try:
        return decode_thing(row)
    except Unread as error:
        raise StateLost(error.message) from error
