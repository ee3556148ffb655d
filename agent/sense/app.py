"""The privileged daemon: one thread, one selector, one straight path from a sighting to the disk.

    sensor -> sighting -> match -> finding -> redact -> open batch -> seal -> outbox -> door

Nothing here waits for the network. A disk that refuses stops the reading of sources that can be
read again, keeps what is sealed in memory, and tries again; it never stops the daemon.
"""

import selectors
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from agent.doorframes import (
    DOOR_VERSION,
    CheckpointFrame,
    Chunk,
    Damaged,
    FromShip,
    Hello,
    HintFrame,
    KnownCheckpoint,
    MetricsFrame,
    MetricsWanted,
    ReceiptFrame,
    Sample,
    Signed,
    SignRequest,
    Uplink,
    VisibleFrame,
    VisibleSegment,
)
from agent.errors import DoorError, OutboxError
from agent.lean import settle
from agent.segments import SegmentId
from agent.sense.batch import OpenBatch, OpenBatches, SealingSettings
from agent.sense.budget import Budget
from agent.sense.door import Door
from agent.sense.floods import Floods
from agent.sense.guarded import FAULTS
from agent.sense.lossbook import LossBook
from agent.sense.outbox import Outbox, Visible
from agent.sense.pacing import Pace
from agent.sense.ports import Ease, Easing, Restating, Sensor, SensorHealth, Sighting
from agent.sense.receipts import ReceiptBook
from agent.sense.recorder import Recorder
from agent.sense.redact import Redactor
from agent.sense.seal import HostFacts, SealedBatch, Sealer, Surroundings
from agent.sense.statements import StatementDesk
from agent.sense.tally import Tally
from proto import codec, model
from proto.envelope import Signer, Verifier
from proto.errors import WireError
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.logs import logger

POLL_SLICE_MS = 50
WAITING_BYTES_MAX = 16 * 1024 * 1024
STORE_RETRY_S_FIRST = 1
STORE_RETRY_S_MAX = 30
EXAMINE_S = 10

log = logger(__name__)

Judge = Callable[[model.Observation], Iterable[model.Finding]]


class ContentDesk(Protocol):
    """Keeps content fresh and says what matching works with."""

    def start(self) -> Sequence[model.Record]:
        """Verify and map what an earlier run accepted."""
        ...

    def stamps(self) -> tuple[model.ContentStamp, ...]:
        """Return versions and freshness for headers and findings."""
        ...

    def changed(self) -> None:
        """Take the hint that there may be something newer."""
        ...

    def online(self, *, is_online: bool) -> None:
        """Take note of whether files can be fetched."""
        ...

    def descriptors(self) -> Sequence[int]:
        """Return what to wait on for reading."""
        ...

    def due(self) -> int | None:
        """Return the boot-clock time at which `poll` is wanted."""
        ...

    def poll(self) -> Sequence[model.Record]:
        """Go on with a refresh; return records of what was accepted or refused."""
        ...

    def chunk(self, chunk: Chunk) -> None:
        """Take in part of a file that was asked for."""
        ...

    def stop(self) -> None:
        """End a refresh that is under way."""
        ...


class Parts(Struct, kw_only=True):
    """What `Sense` is made of; `agent.sense.wiring` fills it."""

    facts: HostFacts
    key: Signer
    verify_key: Verifier
    clock: Clock
    random: Callable[[int], bytes]
    outbox: Outbox
    door: Door | None
    sensors: Mapping[str, Sensor]
    judges: Sequence[Judge]
    content: ContentDesk | None
    redactor: Redactor
    recorder: Recorder
    receipts: ReceiptBook
    statements: StatementDesk
    sealing: SealingSettings
    floods: Floods
    budget: Budget
    # What there is to say of the start itself.
    opening: Sequence[model.Record] = ()
    door_group: int | None = None
    # Not epoll: a descriptor that was closed and came again under its number must be seen.
    selector: Callable[[], selectors.BaseSelector] = selectors.PollSelector
    # CPU time of this thread: what reading each source costs.
    thread_ns: Callable[[], int] = time.thread_time_ns


class Sense:
    """The loop and what it holds between two commits."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._clock = parts.clock
        self._open = OpenBatches(parts.sealing)
        self._tally = Tally()
        self._losses = LossBook()
        self._unsaved: list[SealedBatch] = []
        self._unsaved_cursors: dict[str, bytes] = {}
        self._retry_at = 0
        self._damaged: dict[SegmentId, None] = {}
        self._examine_at = 0
        self._retry_s = STORE_RETRY_S_FIRST
        self._sealed_at = 0
        self._health: dict[str, model.HealthState] = {}
        self._pace = Pace()
        # Wall and boot clock since when sources have been left unread.
        self._unread: tuple[int, int] | None = None
        self._shown: dict[str, Visible] = {}
        self._selector = parts.selector()
        self._watched: dict[int, int] = {}
        self._sealer: Sealer | None = None
        self._actions: Mapping[type, Callable[[Any], None]] = {
            Hello: self._take_hello,
            ReceiptFrame: self._take_receipt,
            Uplink: self._take_uplink,
            SignRequest: self._sign,
            HintFrame: self._take_hint,
            Chunk: self._take_chunk,
            Damaged: self._take_damage,
            CheckpointFrame: self._take_checkpoint,
            MetricsWanted: self._send_metrics,
        }
        self._is_linked = False
        self.is_stopping = False

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take over the outbox, begin an epoch and open every source.

        Raises:
            OSError: the state directory cannot be used at all.
        """
        found = self._p.outbox.open(self._p.verify_key)
        now = self._clock.boot_ns()
        same_boot = found.boot_id == self._p.facts.boot_id
        if found.head is None:
            reason = model.EpochReason.STATE_LOSS if found.is_damaged else model.EpochReason.FIRST
            opens = model.EpochStart(reason=reason)
        else:
            opens = model.EpochStart(
                reason=model.EpochReason.CLEAN_START
                if found.is_clean
                else model.EpochReason.UNCLEAN_START,
                parent_epoch=found.head.epoch,
                parent_seq=found.head.seq,
                parent_hash=found.head.hash,
                blind_from=found.boot_clock if same_boot else 0,
                blind_to=now,
            )
        self._sealer = Sealer(self._p.key, self._p.facts, opens, self._clock, self._p.random)
        self._p.outbox.begin(self._sealer.epoch, self._p.facts.boot_id, now)
        self._sealed_at = now
        if found.head is not None:
            self._state_start(opens, is_clean=found.is_clean)
        if found.is_damaged or found.lost:
            log.warning("outbox damaged", salvaged=found.salvaged, lost=found.lost)
        self._take(self._p.opening)
        if self._p.content is not None:
            self._take(self._p.content.start())
        for name, sensor in self._p.sensors.items():
            sensor.start(found.cursors.get(name, b""))
        if self._p.door is not None:
            self._p.door.open(self._p.door_group)
        self._p.budget.start(self._clock.boot_ns())
        log.info("sensing", sensors=len(self._p.sensors), backlog=self._p.outbox.owed)

    def _state_start(self, opens: model.EpochStart, *, is_clean: bool) -> None:
        """State the time in which nobody read the kernel's events."""
        self._add(
            model.Drop(
                reason=model.DropReason.SOURCE_GAP if is_clean else model.DropReason.UNCLEAN_START,
                sensor="processes",
                first_boot=opens.blind_from,
                last_boot=opens.blind_to,
                epoch=opens.parent_epoch,
                last_seq=opens.parent_seq,
                detail="no reader of kernel events between the last commit and this start",
            )
        )

    def run(self, wake: int | None = None) -> None:
        """Loop until `is_stopping`, then seal what is open and stop cleanly.

        Args:
            wake: a descriptor whose readability ends a wait, such as a signal's.
        """
        if wake is not None:
            self._selector.register(wake, selectors.EVENT_READ)
        while not self.is_stopping:
            self.step()
        self.stop()

    def stop(self) -> None:
        """Seal what is open, note the clean end and close every source."""
        if self._p.content is not None:
            self._p.content.stop()
        now = self._clock.boot_ns()
        if self._unsaved:
            self._store(now)
        # Sources are closed after the last header has stated what they saw.
        self._seal(now)
        try:
            if not self._unsaved:
                self._p.outbox.stop(self._cursors())
        except OutboxError as error:
            log.warning("clean end not noted", reason=str(error))
        for sensor in self._p.sensors.values():
            sensor.stop()
        if self._p.door is not None:
            self._p.door.close()
        self._p.outbox.close()
        log.info("stopped")

    # -- one turn --------------------------------------------------------------------------------

    def step(self) -> None:
        """Wait for the next thing to do, and do it."""
        self._watch()
        now = self._clock.boot_ns()
        wait = max(0, self._next_due() - now) / NS_PER_S
        ready = {key.fd for key, _ in self._selector.select(min(wait, 60.0))}
        if self._p.door is not None:
            for descriptor in self._p.door.readable():
                if descriptor in ready and self._p.door.serve(descriptor):
                    self._greet()
            for descriptor in self._p.door.writable():
                if descriptor in ready:
                    self._p.door.serve(descriptor)
            if self._is_linked and not self._p.door.has_visitor:
                # What the visitor said of the uplink left with it.
                self._take_uplink(Uplink(is_online=False))
        self._poll_sensors(ready)
        self._poll_content(ready)
        self._tell_repeats()
        self._keep_budget()
        self._examine_if_due()
        self._seal_if_due()

    def _watch(self) -> None:
        """Bring the selector in line with what there is to wait on."""
        wanted = self._wanted()
        if wanted == self._watched:
            return
        for descriptor in self._watched:
            self._selector.unregister(descriptor)
        for descriptor, events in wanted.items():
            self._selector.register(descriptor, events)
        self._watched = wanted

    def _wanted(self) -> dict[int, int]:
        reading: list[int] = []
        if not self._is_blocked():
            now = self._clock.boot_ns()
            for name, sensor in self._p.sensors.items():
                if not self._pace.rests(name, now):
                    reading += sensor.descriptors()
        if self._p.content is not None:
            reading += self._p.content.descriptors()
        writing: list[int] = []
        if self._p.door is not None:
            reading += self._p.door.readable()
            writing = self._p.door.writable()
        wanted = dict.fromkeys(reading, selectors.EVENT_READ)
        return wanted | dict.fromkeys(writing, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _next_due(self) -> int:
        if self._unsaved:
            due = [self._retry_at]
        else:
            due = [self._open.heartbeat_due(self._sealed_at)]
            if (open_due := self._open.due()) is not None:
                due.append(open_due)
        if not self._is_blocked():
            due += self._sensors_due()
        if self._p.content is not None and (content_due := self._p.content.due()) is not None:
            due.append(content_due)
        if self._p.door is not None and (door_due := self._p.door.due()) is not None:
            due.append(door_due)
        if (flood_due := self._p.floods.due()) is not None:
            due.append(flood_due)
        if self._damaged:
            due.append(self._examine_at)
        return min(due)

    def _sensors_due(self) -> list[int]:
        now = self._clock.boot_ns()
        due = [
            self._pace.due(name, sensor.due(), now, has_events=bool(sensor.descriptors()))
            for name, sensor in self._p.sensors.items()
        ]
        return [at for at in due if at is not None]

    def _is_blocked(self) -> bool:
        """Whether the disk has refused so much that sources have to wait."""
        return bool(self._unsaved) and self._open.raw_bytes > WAITING_BYTES_MAX

    # -- sources ---------------------------------------------------------------------------------

    def _poll_sensors(self, ready: set[int]) -> None:
        if self._is_blocked():
            return
        for name, sensor in self._p.sensors.items():
            # Asked before the clock is read: a source that has more is due now, whenever now is.
            wanted = sensor.due()
            now = self._clock.boot_ns()
            if self._pace.rests(name, now):
                continue
            is_ready = any(descriptor in ready for descriptor in sensor.descriptors())
            due = self._pace.due(name, wanted, now, has_events=False)
            if not is_ready and (due is None or due > now):
                continue
            self._take(self._read(name, sensor, now))
            self._note_health(name, sensor)
            # What one source found does not wait until all the others have been read.
            self._seal_if_due()

    def _read(self, name: str, sensor: Sensor, now: int) -> Sequence[Sighting]:
        began = self._p.thread_ns()
        sightings = sensor.poll(self._slice_end(now))
        self._tally.spent(name, self._p.thread_ns() - began)
        self._pace.was_read(name, self._clock.boot_ns())
        return sightings

    def _slice_end(self, now: int) -> int:
        """Return when a source has to be left: soon, and before something open is due."""
        end = now + POLL_SLICE_MS * NS_PER_MS
        due = None if self._unsaved else self._open.due()
        return end if due is None else max(now + NS_PER_MS, min(due, end))

    def _poll_content(self, ready: set[int]) -> None:
        content = self._p.content
        if content is None:
            return
        due = content.due()
        is_ready = any(descriptor in ready for descriptor in content.descriptors())
        if is_ready or (due is not None and due <= self._clock.boot_ns()):
            self._take(content.poll())

    def _note_health(self, name: str, sensor: Sensor) -> None:
        health = sensor.health()
        if self._health.get(name) is health.state:
            return
        self._health[name] = health.state
        self._add(
            model.Health(
                subject=name,
                state=health.state,
                reason=health.reason,
                rung=health.rung,
                at=self._clock.wall_ns(),
                last_success=health.last_success or None,
            )
        )

    # -- the budget ------------------------------------------------------------------------------

    def _keep_budget(self) -> None:
        """Give up a step, or take one back, when a window of the budget has ended."""
        told = self._p.budget.tick(self._clock.boot_ns(), self._clock.wall_ns())
        if told is None:
            return
        level, before = self._p.budget.level, self._pace.level
        self._declare_unread()
        self._pace.level = level
        is_silent = level is Ease.HEARTBEAT
        self._unread = (self._clock.wall_ns(), self._clock.boot_ns()) if is_silent else None
        for sensor in self._p.sensors.values():
            if isinstance(sensor, Easing):
                sensor.ease(level)
        self._add(told)
        log.warning("budget", level=told.rung, reason=told.reason)
        if level > before:
            settle()

    def _declare_unread(self) -> None:
        """State the time in which nothing was read; sources with a cursor are caught up with."""
        if self._unread is None:
            return
        (first, first_boot), now = self._unread, self._clock.boot_ns()
        self._unread = (self._clock.wall_ns(), now)
        for name, sensor in self._p.sensors.items():
            if not sensor.cursor():
                self._add(
                    model.Drop(
                        reason=model.DropReason.SOURCE_GAP,
                        sensor=name,
                        first=first,
                        last=self._clock.wall_ns(),
                        first_boot=first_boot,
                        last_boot=now,
                        detail="not read: sensing was over its budget",
                    )
                )

    def _state_of(self, health: SensorHealth) -> model.HealthState:
        """Return a sensor's state as headers have it: no better than the budget leaves it."""
        if self._pace.level is Ease.HEARTBEAT:
            return model.HealthState.BLIND
        if self._pace.level is not Ease.NORMAL and health.state is model.HealthState.OK:
            return model.HealthState.DEGRADED
        return health.state

    # -- from a sighting to an open batch --------------------------------------------------------

    def _take(self, sightings: Sequence[Sighting | model.Record]) -> None:
        for sighting in sightings:
            if isinstance(sighting, model.Observation):
                self._observe(sighting)
            elif isinstance(sighting, model.Finding):
                self._find(sighting, None)
            elif isinstance(sighting, model.InventoryItem):
                self._add(self._p.redactor.item(sighting))
            elif not isinstance(sighting, model.Drop) or self._losses.admits(sighting):
                self._add(sighting)

    def _observe(self, observation: model.Observation) -> None:
        self._tally.observed(observation)
        findings = self._judged(observation)
        redacted = self._p.redactor.observation(observation)
        for finding in findings:
            self._find(finding, redacted)
        if self._pace.level < Ease.NO_ENRICHMENT:
            self._p.recorder.note(redacted)

    def _judged(self, observation: model.Observation) -> list[model.Finding]:
        """Return what the judges make of an observation; one of them that fails is said."""
        findings: list[model.Finding] = []
        for judge in self._p.judges:
            try:
                findings += judge(observation)
            except FAULTS as error:
                log.warning("observation not judged", kind=observation.kind.value, error=error)
                self._add(
                    model.Drop(
                        reason=model.DropReason.QUARANTINED,
                        sensor=observation.source.sensor,
                        count=1,
                        first=observation.event_time,
                        last=observation.event_time,
                        detail=f"an observation could not be judged ({type(error).__name__})",
                    )
                )
        return findings

    def _find(self, finding: model.Finding, trigger: model.Observation | None) -> None:
        self._tally.found(finding)
        finding = self._p.redactor.finding(finding)
        if not self._p.floods.admits(finding, self._clock.boot_ns()):
            self._tally.suppressed += 1
            return
        self._add(finding)
        if trigger is None or self._pace.level >= Ease.NO_ENRICHMENT:
            return
        if finding.severity.rank >= model.Severity.MEDIUM.rank:
            now = self._clock.boot_ns()
            for record in self._p.recorder.context(finding, trigger):
                self._open.add(priority_of(finding), record, finding.event_time, now)

    def _tell_repeats(self) -> None:
        """Add the count of what was held back for as long as it may be."""
        due = self._p.floods.due()
        now = self._clock.boot_ns()
        if due is not None and due <= now:
            for drop in self._p.floods.ended(now):
                self._add(drop)

    def _add(self, record: model.Record) -> None:
        try:
            data = codec.encode_record(record)
        except WireError as error:
            # A record that no reader could take: counted and named, never sealed as if whole.
            self._tally.refused(record)
            log.warning("record over its limits", kind=type(record).__name__, reason=str(error))
            data = codec.encode_record(
                model.Drop(
                    reason=model.DropReason.OVERFLOW,
                    sensor=type(record).__name__.lower(),
                    count=1,
                    detail="a record was over the limits of the wire",
                )
            )
        when = getattr(record, "event_time", 0) or self._clock.wall_ns()
        self._open.add(priority_of(record), data, when, self._clock.boot_ns())

    # -- sealing ---------------------------------------------------------------------------------

    def _seal_if_due(self) -> None:
        now = self._clock.boot_ns()
        if self._unsaved:
            if now >= self._retry_at:
                self._store(now)
            return
        due = self._open.due()
        is_owed = self._open.heartbeat_due(self._sealed_at) <= now
        if is_owed or (due is not None and due <= now):
            self._seal(now, is_heartbeat=is_owed)

    def _seal(self, now: int, *, is_heartbeat: bool = False) -> None:
        """Sign everything that is open and store it."""
        assert self._sealer is not None  # noqa: S101  (start comes first)
        if self._unsaved:
            self._store(now)
            return
        for name, sensor in self._p.sensors.items():
            self._note_health(name, sensor)
        # The cursors of this commit are past what was held back, so its count goes with them.
        for drop in (*self._p.floods.take(), *self._losses.take()):
            self._add(drop)
        self._declare_unread()
        batches = self._open.take()
        dropped = self._p.outbox.undeclared()
        if not batches and (is_heartbeat or dropped):
            batches = [OpenBatch(model.Priority.LOW)]
        for batch in batches:
            around = self._surroundings(dropped)
            sealed = self._sealer.seal(batch, around)
            self._unsaved.append(sealed)
            self._p.outbox.declared(len(dropped), sealed)
            dropped = ()
        self._unsaved_cursors = self._cursors()
        if self._unsaved:
            self._store(now)

    def _surroundings(self, dropped: tuple[model.DroppedRange, ...]) -> Surroundings:
        return Surroundings(
            content=self._p.content.stamps() if self._p.content is not None else (),
            sensors=tuple(
                model.SensorStatus(
                    sensor=name,
                    rung=health.rung,
                    state=self._state_of(health),
                    last_success=health.last_success,
                    dropped=health.dropped,
                )
                for name, sensor in self._p.sensors.items()
                for health in (sensor.health(),)
            ),
            dropped=dropped,
            last_receipt=self._p.receipts.last,
            checkpoint=self._p.receipts.checkpoint,
        )

    def _cursors(self) -> dict[str, bytes]:
        return {name: sensor.cursor() for name, sensor in self._p.sensors.items()}

    def _store(self, now: int) -> None:
        try:
            self._p.outbox.commit(self._unsaved, self._unsaved_cursors, now)
        except OutboxError as error:
            if self._retry_s == STORE_RETRY_S_FIRST:
                log.warning("batch not stored, trying again", reason=str(error))
            self._retry_at = now + self._retry_s * NS_PER_S
            self._retry_s = min(self._retry_s * 2, STORE_RETRY_S_MAX)
            self._tally.store_failures += 1
            return
        if self._retry_s > STORE_RETRY_S_FIRST:
            log.info("storing again", batches=len(self._unsaved))
        self._retry_s = STORE_RETRY_S_FIRST
        self._tally.stored(self._unsaved)
        self._unsaved = []
        self._sealed_at = now
        self._show()

    # -- the door --------------------------------------------------------------------------------

    def take_frame(self, frame: FromShip) -> None:
        """Act on a frame from `ship`; a VedetteError it raises closes the door."""
        act: Callable[[Any], None] = self._actions[type(frame)]
        act(frame)

    def _take_hello(self, frame: Hello) -> None:
        if not DOOR_VERSION - 1 <= frame.version <= DOOR_VERSION + 1:
            raise DoorError("the two halves are too many versions apart")

    def _take_uplink(self, frame: Uplink) -> None:
        self._is_linked = frame.is_online
        self._open.is_online = frame.is_online
        if self._p.content is not None:
            self._p.content.online(is_online=frame.is_online)

    def _take_hint(self, frame: HintFrame) -> None:
        if frame.kind is model.HintKind.CONTENT_CHANGED and self._p.content is not None:
            self._p.content.changed()
        elif frame.kind is model.HintKind.RESEND_INVENTORY:
            for sensor in self._p.sensors.values():
                if isinstance(sensor, Restating):
                    sensor.restate()

    def _take_chunk(self, frame: Chunk) -> None:
        if self._p.content is not None:
            self._p.content.chunk(frame)

    def _take_checkpoint(self, frame: CheckpointFrame) -> None:
        self._p.receipts.take_checkpoint(frame.note, frame.proof)
        if self._p.door is not None and self._p.receipts.checkpoint is not None:
            self._p.door.send(KnownCheckpoint(self._p.receipts.checkpoint.size))

    def _take_receipt(self, frame: ReceiptFrame) -> None:
        receipt = self._p.receipts.take(frame.payload, frame.signature, frame.key_id)
        try:
            settled = self._p.outbox.receipt(receipt, frame.payload, frame.signature)
        except OutboxError as error:
            log.warning("space not freed yet", reason=str(error))
            return
        self._tally.receipted += settled
        self._show()

    def _take_damage(self, frame: Damaged) -> None:
        segment = SegmentId.parse(frame.segment)
        if any(item.segment == segment for item in self._p.outbox.visible()):
            self._damaged[segment] = None
        self._examine_if_due()

    def _examine_if_due(self) -> None:
        """Look at one segment that was called damaged.

        Reading it back takes time, so whoever cries damage is heard now and then. Nothing that was
        cried is forgotten: what lies damaged is a gap until it is stated.
        """
        now = self._clock.boot_ns()
        if not self._damaged or now < self._examine_at:
            return
        self._examine_at = now + EXAMINE_S * NS_PER_S
        segment = next(iter(self._damaged))
        del self._damaged[segment]
        try:
            count = self._p.outbox.examine(segment)
        except OutboxError as error:
            log.warning("segment not examined", reason=str(error))
            return
        if count:
            log.warning("batches damaged on disk", segment=str(segment), batches=count)

    def _sign(self, frame: SignRequest) -> None:
        assert self._p.door is not None  # noqa: S101  (frames come through it)
        try:
            made = self._p.statements.sign(frame.kind, frame.spki_sha256, frame.nonce)
        except DoorError as error:
            self._p.door.send(Signed(frame.id, b"", b"", str(error)[:200]))
            return
        self._add(made.audit)
        self._p.door.send(Signed(frame.id, made.payload, made.signature))

    def _greet(self) -> None:
        assert self._p.door is not None  # noqa: S101  (the visitor came through it)
        facts = self._p.facts
        self._p.door.send(Hello(DOOR_VERSION, facts.tenant, facts.agent))
        # A visitor that does not know would bring checkpoints without the proof they need.
        known = self._p.receipts.checkpoint
        self._p.door.send(KnownCheckpoint(known.size if known is not None else 0))
        self._shown = {}
        self._show(is_all=True)

    def _show(self, *, is_all: bool = False) -> None:
        """Tell the visitor what it may read now."""
        if self._p.door is None or not self._p.door.has_visitor:
            return
        visible = {str(item.segment): item for item in self._p.outbox.visible()}
        is_all = is_all or not self._shown.keys() <= visible.keys()
        news = {
            name: item for name, item in visible.items() if is_all or self._shown.get(name) != item
        }
        self._shown = visible
        if news or is_all:
            self._p.door.send(
                VisibleFrame(
                    tuple(VisibleSegment(n, i.epoch, i.durable) for n, i in news.items()), is_all
                )
            )

    def _send_metrics(self, _frame: MetricsWanted) -> None:
        assert self._p.door is not None  # noqa: S101  (frames come through it)
        samples = self._tally.samples(
            self._p.outbox.owed,
            self._p.outbox.size_bytes,
            self._clock.wall_ns(),
            {name: sensor.health() for name, sensor in self._p.sensors.items()},
        )
        level = Sample("vedette_agent_budget_level", (), self._p.budget.level)
        self._p.door.send(MetricsFrame((*samples, level)))


def priority_of(record: model.Record) -> model.Priority:
    """Return how soon a record is sealed, from what it states."""
    if isinstance(record, model.Finding):
        if record.severity.rank >= model.Severity.HIGH.rank:
            return model.Priority.HIGH
        if record.severity is model.Severity.MEDIUM:
            return model.Priority.MEDIUM
        return model.Priority.LOW
    if isinstance(record, model.Drop | model.Health | model.Audit):
        return model.Priority.MEDIUM
    return model.Priority.LOW
