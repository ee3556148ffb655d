"""Persistence: what is run, trusted or privileged on this host without being asked again.

Source: accounts, sudoers, authorized keys, cron, systemd, PAM, the loader, start files, kernel
modules, and once a day every file's set-user-id bit and capabilities; wtmp and btmp. Privilege: the
right to read them; without it shadow, sudoers and other users' homes stay unread, which is said.
Cost: each minute 5 us of CPU a file that was used, and the parsing of what moved; 6 CPU-s a million
files each day. Misses: an entry that comes and goes between two looks, units made by systemd-run,
accounts of directory services, keys that sshd takes from a command, files inside containers.

What was told is kept (`told`), so that a restart tells the differences alone. A reader's entries
are compared with the ones known from it; an entry whose source could not be read stays as it was.
"""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from agent.hostroot import HostRoot
from agent.hosttext import host_text
from agent.sense.mechanisms import BROUGHT, RIGHTS
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.dpkgwork import is_at_work
from agent.sense.sensors.persist import items, look, packaged
from agent.sense.sensors.persist.items import Found
from agent.sense.sensors.persist.loginrecords import LoginRecords, Loss, Record
from agent.sense.sensors.persist.look import Look, Mark
from agent.sense.sensors.persist.places import Places, below, read_places
from agent.sense.sensors.persist.readers import READERS
from agent.sense.sensors.persist.settings import PersistenceSettings
from agent.sense.sensors.persist.setuid import Area, walk
from agent.sense.sensors.persist.telling import Teller
from agent.sense.sensors.persist.watches import ReaderWatches
from agent.sense.sensors.told import Opening, StateLost, Told, ToldLimits
from proto import model
from proto.model import Change, Persistence
from runtime.clock import NS_PER_S, Clock

# Tools that change accounts write several files; half a change is not worth telling.
SETTLE_NS: Final = 2 * NS_PER_S
# A directory that is written all the time makes us look no more often than this.
CALM_NS: Final = 10 * NS_PER_S
# What dpkg is working on is looked at again so often, and told for so long only when it has ended.
BUSY_NS: Final = 15 * NS_PER_S
PATIENCE_NS: Final = 600 * NS_PER_S
# Whoever asks for everything gets it at most this often.
ASKED_NS_MIN: Final = 3600 * NS_PER_S
# Five thousand homes would take a look of their own each minute.
PATHS_A_LOOK: Final = 8192
WALK: Final = "setuid"

_JOURNAL_ROWS_MAX: Final = 65_536
_SIGHTINGS_A_STEP: Final = 3
_ROWS_A_SLICE: Final = 64

_BASELINE: Final = b"!baseline:"
_DENIED: Final = b"!denied:"
_STATED: Final = b"!stated"
_WALKED: Final = b"!walked"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[str])

_Steps = Generator[None, None, None]


class _Report(Struct):
    """What one reader could not do the last time."""

    unread: dict[str, str]
    odd: int
    over: int


class PersistenceSensor:
    """Tells entries and how they change.

    Args:
        settings: how often and how much.
        host: the only way to its files.
        clock: paces and stamps.
        state: our database; in a directory of `sense` alone.
    """

    spec = SensorSpec(
        name="persistence",
        source="account, start-up and rights files; wtmp and btmp",
        coverage="local accounts, sudoers, keys, cron, systemd, PAM, loader, modules, setuid files",
        misses="entries gone between two looks; systemd-run; directory services; containers",
        privilege="read access to shadow, sudoers and homes",
        cost="5 us of CPU a file used each minute; 6 CPU-s a million files each day",
    )

    def __init__(
        self, settings: PersistenceSettings, host: HostRoot, clock: Clock, state: Path
    ) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._told = Told(state, ToldLimits(settings.state_bytes_max, _JOURNAL_ROWS_MAX))
        self._watches = ReaderWatches(host, settings.watches_max)
        self._records = LoginRecords(host, self._told)
        self._places = Places()
        self._marks: dict[str, Mark] = {}
        self._reports: dict[str, _Report] = {}
        self._say = Teller(self.spec, self._told, clock)
        self._going: _Steps | None = None
        self._walking: _Steps | None = None
        self._due: int | None = None
        self._calm_from = 0
        self._busy_since = 0
        self._is_waiting = False
        self._started = 0
        self._is_walked = False
        self._is_asked = False
        self._asked_due = 0
        self._is_nobody = False
        self._is_replaying = False
        self._lost: Opening | None = None
        self._last_success = 0

    def start(self, cursor: bytes) -> None:
        """Open the state; what was told and not sealed is told first."""
        self.stop()
        self._watches.open()
        self._started = self._clock.boot_ns()
        self._is_replaying = True
        self._begin(self._told.open(cursor))

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptor, where there is one."""
        fd = self._watches.fileno()
        return (fd,) if fd >= 0 else ()

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        return 0 if self._is_replaying or self._going or self._walking else self._due

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Compare what moved with what was told, as far as the deadline lets us."""
        if self._due is None:
            return ()
        out = self._say.begin(self._rung())
        try:
            if self._is_replaying:
                again = self._told.replay(POLL_SIGHTINGS_MAX)
                self._is_replaying = len(again) == POLL_SIGHTINGS_MAX
                return again
            self._take_events()
            self._work(deadline)
            self._told.commit(self._clock.wall_ns())
        except StateLost as error:
            self._begin(self._told.reopen(f"the state was damaged: {error.message}"))
        return out

    def cursor(self) -> bytes:
        """Return the generation up to which `poll` has told."""
        return self._told.cursor()

    def health(self) -> SensorHealth:
        """Return what is read and what is not."""
        reasons = list(self._reasons())
        state = model.HealthState.DEGRADED if reasons else model.HealthState.OK
        if self._due is None or not self._last_success:
            state = model.HealthState.BLIND
            reasons = reasons if self._due is not None else ["not started"]
        elif self._is_nobody:
            state = model.HealthState.BLIND
            reasons.insert(0, "the host's own files name no account")
        elif not self._is_walked:
            # It comes in its time, so nothing is wrong; it is said all the same.
            reasons.append("files with special rights are not looked for yet")
        if self._stretch() > 1:
            often = self._settings.interval_s * self._stretch()
            reasons.append(f"so many files are used that homes are looked at every {often} s")
        return SensorHealth(
            state=state,
            rung=self._rung(),
            reason="; ".join(reasons),
            last_success=self._last_success,
            dropped=self._told.forgotten + sum(one.over for one in self._reports.values()),
        )

    def stop(self) -> None:
        """Close inotify and the state; what waits is found again."""
        self._drop_work()
        self._watches.close()
        self._told.close()
        self._marks.clear()
        self._reports.clear()
        self._due = None

    def restate(self) -> None:
        """State all entries again, unless that was done not long ago."""
        if self._due is not None and self._asked_due <= self._clock.boot_ns():
            self._asked_due = self._clock.boot_ns() + ASKED_NS_MIN
            self._is_asked = True
            self._due = 0

    # ------------------------------------------------------------------------- the work

    def _begin(self, opening: Opening) -> None:
        self._drop_work()
        self._marks.clear()
        self._is_replaying = self._is_replaying and not opening.is_new
        self._lost = opening if opening.lost else None
        self._due = 0

    def _drop_work(self) -> None:
        for work in (self._going, self._walking):
            if work is not None:
                work.close()
        self._going = self._walking = None

    def _take_events(self) -> None:
        # Which reader it was, and whether it was for nothing, the marks tell at little cost.
        if not self._watches.read(READERS) or self._due is None:
            return
        wanted = max(self._clock.boot_ns() + SETTLE_NS, self._calm_from)
        if wanted < self._due:
            self._due, self._calm_from = wanted, wanted + CALM_NS * self._stretch()

    def _stretch(self) -> int:
        """Return how many times rarer to look, where so many files are used that looking costs."""
        return 1 + sum(mark.count for mark in self._marks.values()) // PATHS_A_LOOK

    def _work(self, deadline: int) -> None:
        now = self._clock.boot_ns()
        if self._going is None and self._due is not None and now >= self._due:
            interval = self._settings.interval_s * self._stretch() * NS_PER_S
            self._due = (now // interval + 1) * interval
            self._going = self._look()
        room = POLL_SIGHTINGS_MAX - _SIGHTINGS_A_STEP
        while len(self._say.out) <= room and self._step():
            if self._clock.boot_ns() >= deadline:
                return

    def _step(self) -> bool:
        """Advance by a slice; False when nothing is left. A look goes before the long walk."""
        if self._going is not None:
            if next(self._going, self) is self:
                self._going = None
        elif self._walking is not None:
            if next(self._walking, self) is self:
                self._walking = None
        else:
            return False
        return True

    def _look(self) -> _Steps:
        """Let each reader look whose sources have moved, and do what is due besides."""
        if self._lost is not None:
            lost, self._lost = self._lost, None
            self._say.loss(f"{lost.lost}; all entries are stated again", lost.seen)
        is_busy = self._is_dpkg_busy()
        places = read_places(self._host)
        if places.remote != self._places.remote:
            self._marks.clear()
        self._places = places
        for name in READERS:
            yield
            mark = self._marks.get(name)
            if mark is None or not (yield from look.is_as(mark, self._host, self._now())):
                yield from self._read(name)
        yield from self._read_logins()
        self._last_success = self._now()
        self._is_walked = self._told.get(_WALKED) is not None
        is_late = self._clock.boot_ns() >= self._started + self._settings.walk_delay_s * NS_PER_S
        is_free = self._walking is None and not is_busy
        if is_late and is_free and self._is_due(_WALKED, self._settings.walk_interval_s):
            self._walking = self._walk()
        if self._is_asked or self._is_due(_STATED, self._settings.inventory_interval_s):
            self._is_asked = False
            yield from self._state_again()
        self._last_success = self._now()
        self._told.note_seen(self._last_success)

    def _walk(self) -> _Steps:
        yield from self._read(WALK)
        self._told.put(_WALKED, b"%d" % self._now())
        self._is_walked = True

    def _read(self, name: str) -> _Steps:
        """Take what one reader finds and tell how it differs from what it found before."""
        seeing = Look(self._host, self._places.remote, self._now())
        report = _Report(seeing.unread, 0, 0)
        found: dict[bytes, Found] = {}
        self._is_waiting = False
        for one in self._entries(name, seeing):
            yield
            if one is None:
                continue
            key = items.key_of(name, one)
            if len(found) < self._settings.items_max:
                found.setdefault(key, one)
            elif key not in found:
                report.over += 1
                seeing.is_partial = True
        report.odd = seeing.odd
        if name == "users":
            # A host has accounts: none at all is something we do not see, and no mass removal.
            self._is_nobody = not found
            seeing.is_partial |= self._is_nobody
        yield from self._compare(name, seeing, found)
        self._reports[name] = report
        if name == WALK:
            return
        self._watches.watch(name, seeing.directories)
        if self._is_waiting:
            self._marks.pop(name, None)
            self._due = min(self._due or 0, self._clock.boot_ns() + BUSY_NS)
        else:
            self._marks[name] = seeing.mark()

    def _entries(self, name: str, seeing: Look) -> Iterator[Found | None]:
        if name == WALK:
            own = self._settings
            area = Area(self._places, frozenset(own.walk_exclude), own.walk_entries_max)
            yield from walk(seeing, self._host, area)
        else:
            yield from READERS[name](seeing)
        for one in seeing.writable.values():
            yield items.writable(one)

    def _compare(self, name: str, seeing: Look, found: dict[bytes, Found]) -> _Steps:
        rows = self._told.between(items.prefix_of(name), items.end_of(name), 1 << 30)
        is_baseline = self._told.get(_BASELINE + name.encode()) is None
        denied = self._denied(name)
        known: dict[bytes, Persistence] = {}
        for key, value in rows:
            yield
            item = items.decoded(value)
            if key in found:
                known[key] = item
            elif not seeing.keeps(item.path):
                self._told.put(key, None)
                self._say.entry(Change.REMOVED, item)
        del rows
        new = {
            key: one
            for key, one in found.items()
            if key not in known or not items.is_same(known[key], one.item)
        }
        asked = {
            one.item.path: one.changed if one.item.mechanism in RIGHTS else 0
            for one in new.values()
        }
        origins = yield from packaged.origins(self._host, asked) if asked else _nothing()
        for key, one in new.items():
            yield
            origin = origins[one.item.path]
            if not is_baseline and self._must_wait(one.item, origin):
                self._is_waiting = True
                continue
            item = structs.replace(
                one.item, package=origin.package, caveats=one.item.caveats + origin.caveats
            )
            self._told.put(key, items.encoded(item))
            is_first = is_baseline or below(item.path, denied)
            if key in known:
                self._say.changed(known[key], item, one.changed)
            else:
                self._say.entry(Change.PRESENT if is_first else Change.ADDED, item, one.changed)
        self._told.put(_BASELINE + name.encode(), b"1")
        if is_baseline or denied:
            lacking = {host_text(path, items.PATH_CHARS_MAX) for path in seeing.denied}
            still = lacking if is_baseline else denied & lacking
            self._told.put(_DENIED + name.encode(), _encoder.encode(sorted(still)))

    def _denied(self, name: str) -> set[str]:
        """Return what we lacked the right to read when we first looked, and have lacked since.

        What is to be seen there when we get the right has not come by that. Nothing is added later:
        whoever can hide a file for a while must not make it an old one.

        Raises:
            StateLost: the database is damaged.
        """
        value = self._told.get(_DENIED + name.encode())
        if value is None:
            return set()
        try:
            return set(_decoder.decode(value))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StateLost("a row cannot be read") from error

    def _must_wait(self, item: Persistence, origin: packaged.Origin) -> bool:
        """Tell whether this may be a package's that dpkg is at work on."""
        is_clear = isinstance(origin.package, str) and not origin.caveats
        return item.mechanism in BROUGHT and not is_clear and self._is_dpkg_busy()

    def _is_dpkg_busy(self) -> bool:
        """Tell whether dpkg is at work; whoever feigns that wins minutes and no more."""
        if not is_at_work(self._host):
            self._busy_since = 0
            return False
        now = self._clock.boot_ns()
        self._busy_since = self._busy_since or now
        return now - self._busy_since < PATIENCE_NS

    def _read_logins(self) -> _Steps:
        for one in self._records.read():
            # Told before anything else may be stored: its place was kept with it.
            if isinstance(one, Record):
                self._say.login(one)
            elif isinstance(one, Loss):
                self._say.loss(one.why)
            yield

    def _state_again(self) -> _Steps:
        """State every entry, but those that this very look has stated."""
        if self._told.get(_STATED) is not None:
            for name in (*READERS, WALK):
                low = items.prefix_of(name)
                while rows := self._told.between(low, items.end_of(name), _ROWS_A_SLICE):
                    for key, value in rows:
                        yield
                        if self._told.get(key) is not None:
                            self._say.item(Change.PRESENT, items.decoded(value))
                    low = rows[-1][0] + b"\0"
        self._told.put(_STATED, b"%d" % self._now())

    def _is_due(self, key: bytes, interval_s: int) -> bool:
        """Tell whether it is long ago; a time that lies ahead of us is no time."""
        value = self._told.get(key) or b""
        then = int(value) if value.isdigit() and len(value) < 20 else 0
        return not 0 <= self._now() - then < interval_s * NS_PER_S

    # ------------------------------------------------------------------------- what is said

    def _reasons(self) -> Iterator[str]:
        reports = self._reports.values()
        unread = {path: why for report in reports for path, why in report.unread.items()}
        if unread:
            yield f"{len(unread)} sources not read: {look.shown(unread.items())}"
        if over := sum(report.over for report in reports):
            yield f"{over} entries over the limit of {self._settings.items_max} a source"
        if odd := sum(report.odd for report in reports):
            yield f"{odd} entries are of no known form"
        if not self._last_success:
            yield "the first look is not finished"
        yield from self._records.problems
        if self._watches.problem:
            yield f"changes are seen at the interval: {self._watches.problem}"
        if self._told.problem:
            yield f"restart will tell some entries again: {self._told.problem}"

    def _rung(self) -> str:
        return "inotify+stat" if self._watches.fileno() >= 0 else "stat"

    def _now(self) -> int:
        return self._clock.wall_ns()


def _nothing() -> Generator[None, None, dict[str, packaged.Origin]]:
    yield
    return {}
