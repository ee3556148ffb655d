"""The laws of the loop: what was seen is sealed once and in time, whatever the disk and ship do."""

import contextlib
import errno
import itertools
import os
import resource
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent import doorframes as frames
from agent.sense import app
from agent.sense.app import EXAMINE_S, WAITING_BYTES_MAX, priority_of
from agent.sense.budget import Budget, BudgetSettings
from agent.sense.door import CLOSED_S, DEAF_S
from agent.sense.floods import FloodSettings
from agent.sense.headers import Committed, decode_notes
from agent.sense.outbox import OutboxSettings
from agent.sense.ports import Ease, Sighting
from certs.signatures import SigningKey
from proto import codec, envelope, merkle, model, tlog
from proto.envelope import PayloadType
from proto.model import DropReason, EpochReason, HealthState, Priority, Severity
from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.frames import FrameDecoder, encode_frame
from tests.agent.sense.builders import SMALL, Host
from tests.agent.sense.loop import LOG_NAME, Loop, SealedBatch
from tests.fakes.clock import FakeClock
from tests.fakes.meter import FakeMeter
from tests.fakes.sensor import FakeSensor
from tests.fakes.smalldisk import mounted
from tests.proto.builders import a_finding, a_process, an_observation


def numbered(number: int, severity: Severity = Severity.LOW, padding: int = 0) -> model.Finding:
    noise = (model.Argument("noise", os.urandom(padding // 2).hex()),) if padding else ()
    return a_finding(
        severity=severity, arguments=(model.Argument("n", str(number)), *noise), event_time=number
    )


def numbers(batches: Sequence[SealedBatch]) -> list[int]:
    """The numbers of all findings, in the order of their batches."""
    return [
        int(record.arguments[0].value)
        for batch in batches
        for record in batch.records
        if isinstance(record, model.Finding)
    ]


class Case:
    """One host, its source, and the loop that reads it, over as many runs as a test needs."""

    def __init__(self, path: Path, settings: OutboxSettings = SMALL) -> None:
        self.path = path
        self.host = Host()
        self.settings = settings
        self.source: list[Sighting] = []
        self.loop = self.run()

    def run(self) -> Loop:
        self.sensor = FakeSensor(self.host.clock, self.source)
        self.loop = Loop(
            self.path,
            sensors={"list": self.sensor},
            host=self.host,
            settings=self.settings,
            is_open=True,
        )
        return self.loop.start()

    def knock(self) -> "Visitor":
        return Visitor(self.loop)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


class Visitor:
    """The networked half's end of the door."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.decoder = FrameDecoder(frames.FRAME_BYTES_MAX)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(loop.path / "door.sock"))
        self.socket.setblocking(False)
        loop.step(2)

    def send(self, *sent: frames.FromShip) -> None:
        self.socket.setblocking(True)
        self.socket.sendall(b"".join(encode_frame(frames.encode(frame)) for frame in sent))
        self.socket.setblocking(False)
        self.loop.step(3)

    def heard(self) -> list[frames.FromSense]:
        got: list[frames.FromSense] = []
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while data := self.socket.recv(1 << 20):
                got += [frames.decode_from_sense(raw) for raw in self.decoder.feed(data)]
        return got

    def close(self) -> None:
        self.socket.close()


def signed(
    case: Case, receipt: model.Receipt, key: SigningKey | None = None
) -> frames.ReceiptFrame:
    key = key or case.loop.collector
    payload = codec.encode_receipt(receipt)
    signature = envelope.sign(PayloadType.RECEIPT, payload, key)
    return frames.ReceiptFrame(payload, signature, case.loop.collector.public.key_id)


def receipt_for(case: Case, batch: SealedBatch, **changes: object) -> model.Receipt:
    digest = envelope.header_hash(PayloadType.BATCH, codec.encode_header(batch.header))
    values: dict[str, object] = {
        "version": 1,
        "tenant": batch.header.tenant,
        "agent": batch.header.agent,
        "epoch": batch.header.epoch,
        "seq": batch.header.seq,
        "header_hash": digest,
        "ledger_generation": bytes(16),
        "log_size": 0,
        "durability": model.Durability.DURABLE,
        "at": 1,
    }
    return model.Receipt(**(values | changes))  # type: ignore[arg-type]


# -- in time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "limit_s"),
    [
        (Severity.CRITICAL, 0.2),
        (Severity.HIGH, 0.2),
        (Severity.MEDIUM, 2),
        (Severity.LOW, 30),
        (Severity.INFORMATIONAL, 30),
    ],
)
def test_a_finding_is_durable_within_the_time_of_its_severity(
    case: Case, severity: Severity, limit_s: float
) -> None:
    case.loop.go(60)
    case.source.append(numbered(1, severity))
    case.loop.go(limit_s / 2)
    assert numbers(case.loop.sealed()) == []

    case.loop.go(limit_s / 2 + 0.001)

    assert numbers(case.loop.sealed()) == [1]
    case.loop.crash()


def test_nobody_listening_low_findings_wait_longer_and_high_ones_do_not(case: Case) -> None:
    case.loop.go(60)
    visitor = case.knock()
    visitor.send(frames.Uplink(is_online=False))
    case.source.append(numbered(1))
    case.loop.go(45)
    assert numbers(case.loop.sealed()) == []
    case.loop.go(16)
    assert numbers(case.loop.sealed()) == [1]

    case.source.append(numbered(2, Severity.HIGH))
    case.loop.go(0.201)

    assert numbers(case.loop.sealed()) == [1, 2]
    visitor.close()
    case.loop.crash()


def test_a_busy_source_beside_it_does_not_delay_an_urgent_finding(tmp_path: Path) -> None:
    host = Host()
    urgent = FakeSensor(host.clock, [])
    busy = [FakeSensor(host.clock, [an_observation()] * 100_000, batch=10) for _ in range(8)]
    for sensor in busy:
        sensor.takes_all_its_time = True
    sensors = {"urgent": urgent} | {f"busy{n}": sensor for n, sensor in enumerate(busy)}
    loop = Loop(tmp_path, sensors=sensors, host=host).start()
    loop.go(3)
    urgent.source.append(numbered(7, Severity.HIGH))
    while urgent.at == 0:
        loop.go(0.001)
    seen = host.clock.boot_ns()
    while not numbers(loop.sealed()):
        loop.go(0.001)

    # Read within one turn of all the others; durable within its limit from then on.
    batch = next(b for b in loop.sealed() if numbers([b]))
    assert batch.header.priority is Priority.HIGH
    assert batch.header.boot_clock - seen <= 200 * NS_PER_MS
    loop.crash()


def test_everything_open_is_sealed_in_one_commit_with_the_cursors(case: Case) -> None:
    case.loop.go(60)
    case.source += [numbered(1), numbered(2, Severity.MEDIUM), numbered(3, Severity.HIGH)]
    case.loop.go(0.21)
    batches = case.loop.sealed()[-3:]
    case.loop.crash()

    assert [batch.header.priority for batch in batches] == [
        Priority.HIGH,
        Priority.MEDIUM,
        Priority.LOW,
    ]
    assert numbers(batches) == [3, 2, 1]
    case.run()
    assert case.sensor.at == 3
    case.loop.crash()


def test_a_silent_host_says_every_five_minutes_that_it_is_there(case: Case) -> None:
    case.loop.go(10)
    before = len(case.loop.sealed())

    case.loop.go(1501)

    beats = case.loop.sealed()[before:]
    assert len(beats) == 5
    assert all(batch.records == () for batch in beats)
    assert {batch.header.sensors[0].state for batch in beats} == {HealthState.OK}
    steps = [beats[n + 1].header.boot_clock - beats[n].header.boot_clock for n in range(4)]
    assert steps == [300 * NS_PER_S] * 4
    case.loop.crash()


def test_an_idle_loop_wakes_no_more_than_twice_in_ten_seconds(tmp_path: Path) -> None:
    host = Host()
    idle = FakeSensor(host.clock, [])
    slow = FakeSensor(host.clock, [])
    slow.interval_s = 30
    loop = Loop(tmp_path, sensors={"idle": idle, "slow": slow}, host=host, is_open=True).start()
    loop.go(10)
    loop.selector.waits.clear()

    loop.go(600)

    assert len(loop.selector.waits) <= 2 * 60
    assert slow.polls <= 22
    loop.crash()


def test_a_clock_set_by_years_changes_no_waiting(case: Case) -> None:
    case.loop.go(60)
    case.host.clock.wall -= 10 * 365 * 86_400 * NS_PER_S
    case.source.append(numbered(1, Severity.HIGH))

    case.loop.go(0.201)

    assert numbers(case.loop.sealed()) == [1]
    case.loop.crash()


# -- over restarts --------------------------------------------------------------------------------


def test_the_first_epoch_follows_nothing(case: Case) -> None:
    case.loop.go(5)

    first = case.loop.sealed()[0].header

    assert first.opens == model.EpochStart(reason=EpochReason.FIRST)
    assert (first.seq, first.previous) == (1, b"")
    assert case.loop.records(model.Drop) == []
    case.loop.crash()


def test_after_a_crash_the_new_epoch_names_its_parent_and_the_time_without_a_reader(
    case: Case,
) -> None:
    case.source.append(numbered(1))
    case.loop.go(40)
    last = case.loop.sealed()[-1].header
    digest = case.loop.outbox.head
    assert digest is not None
    case.loop.go(3)
    case.loop.crash()

    case.run().go(3)

    opens = case.loop.sealed()[-1].header.opens
    now = case.loop.sealed()[-1].header
    assert opens is not None
    assert opens.reason is EpochReason.UNCLEAN_START
    assert (opens.parent_epoch, opens.parent_seq) == (last.epoch, last.seq)
    assert opens.parent_hash == digest.hash == now.previous
    assert last.boot_clock <= (opens.blind_from or 0) < (opens.blind_to or 0) <= now.boot_clock
    (drop,) = case.loop.records(model.Drop)
    assert drop.reason is DropReason.UNCLEAN_START
    assert (drop.first_boot, drop.last_boot) == (opens.blind_from, opens.blind_to)
    case.loop.crash()


def test_a_clean_stop_seals_what_is_open_and_the_next_start_is_clean(case: Case) -> None:
    case.loop.go(5)
    case.source += [numbered(1), numbered(2)]
    case.loop.step()
    case.loop.stop()

    case.run().go(5)

    opening = case.loop.sealed()[-1].header
    assert opening.opens is not None
    assert opening.opens.reason is EpochReason.CLEAN_START
    assert numbers(case.loop.sealed()) == [1, 2]
    assert case.sensor.at == 2
    assert {s.state for b in case.loop.sealed() for s in b.header.sensors} == {HealthState.OK}
    case.loop.crash()


def test_a_log_that_is_gone_is_said_to_be_lost_state(case: Case) -> None:
    case.loop.go(5)
    case.loop.crash()
    raw = bytearray((case.path / "headers.log").read_bytes())
    (case.path / "headers.log").write_bytes(bytes(b ^ 0x55 for b in raw))
    for segment in (case.path / "segments").iterdir():
        segment.unlink()

    case.run().go(5)

    opens = case.loop.sealed()[0].header.opens
    assert opens is not None
    assert opens.reason is EpochReason.STATE_LOSS
    case.loop.crash()


def test_after_another_boot_no_clock_of_the_last_one_is_named(case: Case) -> None:
    case.loop.go(5)
    case.loop.crash()
    case.host.facts = type(case.host.facts)(
        **{
            name: getattr(case.host.facts, name)
            for name in case.host.facts.__struct_fields__
            if name != "boot_id"
        },
        boot_id=b"another boot id!",
    )

    case.run().go(5)

    opens = case.loop.sealed()[-1].header.opens
    assert opens is not None
    assert opens.blind_from == 0
    case.loop.crash()


class Restarting(RuleBasedStateMachine):
    """See, seal, crash and stop in any order: each record is sealed once, in order, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.case = Case(Path(self.folder.name), OutboxSettings(segment_bytes=256 * 1024))
        self.refuse = False
        self.real = os.fdatasync

    @rule(
        count=st.integers(1, 5),
        severity=st.sampled_from([Severity.LOW, Severity.MEDIUM, Severity.HIGH]),
        padding=st.sampled_from([0, 40_000]),
    )
    def see(self, count: int, severity: Severity, padding: int) -> None:
        start = len(self.case.source)
        self.case.source.extend(numbered(n, severity, padding) for n in range(start, start + count))

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.5, 31]))
    def work(self, seconds: float) -> None:
        self.case.loop.go(seconds)

    @rule(after=st.integers(0, 4))
    def work_on_a_failing_disk(self, after: int) -> None:
        left = iter(range(after))

        def failing(fd: int) -> None:
            if next(left, None) is None:
                raise OSError(errno.EIO, "Input/output error")
            self.real(fd)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fdatasync", failing)
            self.case.loop.go(2.5)

    @rule()
    def crash(self) -> None:
        self.case.loop.crash()
        self.case.run()

    @rule()
    def stop(self) -> None:
        self.case.loop.stop()
        self.case.run()

    @rule(cut=st.integers(1, 300))
    def lose_the_end_of_a_write(self, cut: int) -> None:
        """Crash in the middle of the next commit: its note is not whole."""
        log = self.case.path / "headers.log"
        before = log.stat().st_size
        self.case.loop.go(31)
        self.case.loop.crash()
        after = log.stat().st_size
        if after - before > cut and self.case.loop.outbox.size_bytes:
            notes = [end for _, end, _ in decode_notes(log.read_bytes())]
            keep = max([end for end in notes if end < after], default=0)
            os.truncate(log, min(after - 1, keep + cut))
        self.case.run()

    @invariant()
    def nothing_is_sealed_twice_or_out_of_order(self) -> None:
        found = numbers(self.case.loop.sealed())
        assert len(found) == len(set(found))

    def teardown(self) -> None:
        self.case.loop.go(40)
        self.case.loop.go(40)
        found = numbers(self.case.loop.sealed())
        assert sorted(found) == list(range(len(self.case.source)))
        ids = [(b.header.epoch, b.header.seq) for b in self.case.loop.sealed()]
        assert len(ids) == len(set(ids))
        self.case.loop.crash()
        self.folder.cleanup()


Restarting.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestRestarting = Restarting.TestCase


# -- when the disk refuses ------------------------------------------------------------------------


@contextlib.contextmanager
def refusing_disk(monkeypatch: pytest.MonkeyPatch, call: str = "fdatasync") -> Iterator[None]:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        yield


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
def test_a_disk_that_refuses_costs_nothing_but_time(
    case: Case, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    case.loop.go(5)
    case.source.append(numbered(0, Severity.HIGH))
    with refusing_disk(monkeypatch, call):
        case.loop.go(10)
        case.source += [numbered(1), numbered(2, Severity.HIGH)]
        case.loop.go(400)
        assert numbers(case.loop.sealed()) == []
    case.loop.selector.waits.clear()

    case.loop.go(32)

    assert numbers(case.loop.sealed()) == [0, 2, 1]
    assert [b.header.seq for b in case.loop.sealed()] == list(range(1, len(case.loop.sealed()) + 1))
    case.loop.crash()
    case.run().go(40)
    assert sorted(numbers(case.loop.sealed())) == [0, 1, 2]
    case.loop.crash()


def test_trying_again_is_no_busy_loop(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.source.append(numbered(0, Severity.HIGH))
    with refusing_disk(monkeypatch):
        case.loop.go(60)
        case.loop.selector.waits.clear()
        case.loop.go(900)

    assert len(case.loop.selector.waits) <= 2 * 90
    case.loop.crash()


def test_sources_wait_while_a_refusing_disk_holds_too_much_in_memory(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "WAITING_BYTES_MAX", 512 * 1024)
    case.loop.go(5)
    with refusing_disk(monkeypatch):
        case.source += [numbered(n, padding=60_000) for n in range(60)]
        case.sensor.batch = 1
        case.loop.go(120)
        at, polls = case.sensor.at, case.sensor.polls
        case.loop.go(600)
        assert (case.sensor.at, case.sensor.polls) == (at, polls)
        assert 10 < at < 40

    case.loop.go(40)
    case.loop.go(40)

    assert sorted(numbers(case.loop.sealed())) == list(range(60))
    assert WAITING_BYTES_MAX == 16 * 1024 * 1024
    case.loop.crash()


def missing(case: Case) -> set[tuple[bytes, int]]:
    """Batches that are neither in the outbox nor named in a header that is, or will be."""
    batches = case.loop.sealed()
    dropped = [*case.loop.outbox.undeclared(), *(d for b in batches for d in b.header.dropped)]
    there = {(b.header.epoch, b.header.seq) for b in batches}
    named = {(d.epoch, n) for d in dropped for n in range(d.first_seq, d.last_seq + 1)}
    highest: dict[bytes, int] = {}
    for epoch, seq in there | named:
        highest[epoch] = max(seq, highest.get(epoch, 0))
    return {(e, n) for e, top in highest.items() for n in range(1, top + 1)} - there - named


def test_a_full_outbox_keeps_what_it_cannot_store_until_receipts_make_room(tmp_path: Path) -> None:
    case = Case(tmp_path, OutboxSettings(size_bytes_max=1024 * 1024, segment_bytes=256 * 1024))
    case.loop.go(1)
    for n in range(30):
        case.source.append(numbered(n, Severity.HIGH, 60_000))
        case.loop.go(0.3)
    # What made room for newer findings is named, in headers that are still to be delivered.
    assert missing(case) == set()
    case.source.append(numbered(100))
    case.loop.go(90)
    assert 100 not in numbers(case.loop.sealed())

    last = max(case.loop.sealed(), key=lambda batch: batch.header.seq)
    visitor = case.knock()
    visitor.send(signed(case, receipt_for(case, last)))
    case.loop.go(40)

    assert numbers(case.loop.sealed()).count(100) == 1
    visitor.close()
    case.loop.crash()


def test_an_urgent_finding_does_not_wait_for_room_for_the_rest(tmp_path: Path) -> None:
    case = Case(tmp_path, OutboxSettings(size_bytes_max=1024 * 1024, segment_bytes=256 * 1024))
    case.loop.go(1)
    for n in range(30):
        case.source.append(numbered(n, Severity.HIGH, 60_000))
        case.loop.go(0.3)

    case.source += [numbered(100), numbered(101, Severity.HIGH)]
    case.loop.go(0.3)
    case.source.append(numbered(102, Severity.HIGH))
    case.loop.go(0.3)

    assert {101, 102} <= set(numbers(case.loop.sealed()))
    assert 100 not in numbers(case.loop.sealed())
    assert missing(case) == set()
    case.loop.crash()
    # And a restart neither reads it again nor forgets that it is missing.
    case.run().go(3)
    assert case.sensor.at == len(case.source)
    assert missing(case) == set()
    case.loop.crash()


def test_a_stop_after_a_refusal_seals_all_or_does_not_call_itself_clean(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.loop.go(5)
    case.source.append(numbered(0, Severity.HIGH))
    with refusing_disk(monkeypatch):
        case.loop.go(1)
        case.source.append(numbered(1))
        case.loop.step()
    case.loop.stop()

    case.run().go(40)

    assert numbers(case.loop.sealed()) == [0, 1]
    case.source.append(numbered(2))
    with refusing_disk(monkeypatch):
        case.loop.step()
        case.loop.stop()
    case.run().go(40)
    assert numbers(case.loop.sealed()) == [0, 1, 2]
    last = [b.header.opens for b in case.loop.sealed() if b.header.opens][-1]
    assert last.reason is EpochReason.UNCLEAN_START
    case.loop.crash()


def test_dropped_ranges_are_declared_in_one_header_and_no_other(case: Case) -> None:
    case.loop.go(5)
    case.source.append(numbered(0))
    case.loop.go(31)
    case.loop.crash()
    for segment in (case.path / "segments").iterdir():
        segment.write_bytes(segment.read_bytes()[:100])

    case.run().go(400)
    case.loop.crash()
    case.run().go(400)

    stated = [b.header for b in case.loop.sealed() if b.header.dropped]
    assert len(stated) == 1
    (dropped,) = stated[0].dropped
    assert dropped.reason is DropReason.QUARANTINED
    assert dropped.batches == dropped.last_seq - dropped.first_seq + 1
    case.loop.crash()


# -- from a sighting to a record ------------------------------------------------------------------


def judged(severity: Severity) -> Callable[[model.Observation], Sequence[model.Finding]]:
    def judge(observation: model.Observation) -> Sequence[model.Finding]:
        process = observation.subject.value
        assert isinstance(process, model.Process)
        if process.pid != 666:
            return ()
        return (numbered(666, severity),)

    return judge


@pytest.mark.parametrize(
    ("severity", "expected"), [(Severity.MEDIUM, 3), (Severity.HIGH, 3), (Severity.LOW, 0)]
)
def test_the_surroundings_of_a_grave_finding_are_sealed_beside_it(
    tmp_path: Path, severity: Severity, expected: int
) -> None:
    host = Host()
    bad, other = a_process(pid=666), a_process(pid=1)
    source: list[Sighting] = [
        an_observation(other, process=a_process(pid=5), event_time=1),
        an_observation(a_process(pid=667), process=bad, event_time=2),
        an_observation(a_process(pid=668), process=bad, event_time=3),
        an_observation(bad, event_time=4),
    ]
    sensor = FakeSensor(host.clock, source, is_rereadable=False)
    loop = Loop(
        tmp_path, sensors={"processes": sensor}, judges=[judged(severity)], host=host
    ).start()
    sensor.at = 0
    loop.go(31)

    observed = loop.records(model.Observation)
    batch = next(b for b in loop.sealed() if 666 in numbers([b]))

    # The trigger first, then what is related, and nothing of a stranger's.
    assert len(observed) == expected
    assert [o.event_time for o in observed] == [4, 3, 2][:expected]
    assert {o.finding_key for o in observed} <= {b"k" * 16}
    assert set(map(id, observed)) <= set(map(id, batch.records)) or all(
        o in batch.records for o in observed
    )
    loop.crash()


def test_a_secret_is_sealed_neither_in_a_finding_nor_in_its_surroundings(tmp_path: Path) -> None:
    host = Host()
    process = a_process(pid=666, argv=("mysql", "--password=hunter2hunter2"))
    sensor = FakeSensor(host.clock, [an_observation(process)])
    judge = judged(Severity.HIGH)

    def with_process(observation: model.Observation) -> Sequence[model.Finding]:
        return [replace_process(finding, process) for finding in judge(observation)]

    loop = Loop(tmp_path, sensors={"p": sensor}, judges=[with_process], host=host).start()
    loop.go(1)

    sealed = repr(loop.sealed())

    assert "666" in sealed
    assert "hunter2" not in sealed
    loop.crash()


def replace_process(finding: model.Finding, process: model.Process) -> model.Finding:
    return a_finding(arguments=finding.arguments, process=process, severity=finding.severity)


def test_a_record_over_the_limits_of_the_wire_becomes_a_declared_drop(case: Case) -> None:
    huge = a_finding(arguments=tuple(model.Argument("n", "x" * 60_000) for _ in range(16)))
    case.source += [huge, a_finding(title="\ud800"), numbered(1, Severity.HIGH)]

    case.loop.go(3)

    drops = case.loop.records(model.Drop)
    assert [(d.reason, d.sensor, d.count) for d in drops] == [
        (DropReason.OVERFLOW, "finding", 1)
    ] * 2
    assert numbers(case.loop.sealed()) == [1]
    case.loop.crash()


def test_surroundings_that_cannot_be_sent_do_not_stop_the_finding(tmp_path: Path) -> None:
    host = Host()
    bad = a_process(pid=666, argv=("x" * 70_000,), exe="\ud800")
    sensor = FakeSensor(host.clock, [an_observation(bad)])
    loop = Loop(tmp_path, sensors={"p": sensor}, judges=[judged(Severity.HIGH)], host=host).start()

    loop.go(1)

    assert numbers(loop.sealed()) == [666]
    loop.crash()


def test_a_change_of_health_is_sealed_once(case: Case) -> None:
    case.sensor.interval_s = 5
    case.loop.go(30)
    case.sensor.state = HealthState.DEGRADED
    case.loop.go(60)
    case.sensor.state = HealthState.OK
    case.loop.go(60)

    told = [(h.subject, h.state) for h in case.loop.records(model.Health)]

    assert told == [
        ("list", HealthState.OK),
        ("list", HealthState.DEGRADED),
        ("list", HealthState.OK),
    ]
    case.loop.crash()


def test_a_source_that_is_never_read_is_said_to_be_blind(case: Case) -> None:
    case.loop.go(5)
    case.sensor.is_open = False

    case.loop.go(301)

    last = case.loop.records(model.Health)[-1]
    assert last.state is HealthState.BLIND
    case.loop.crash()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (a_finding(severity=Severity.CRITICAL), Priority.HIGH),
        (a_finding(severity=Severity.MEDIUM), Priority.MEDIUM),
        (a_finding(severity=Severity.UNSPECIFIED), Priority.LOW),
        (model.Drop(reason=DropReason.SOURCE_GAP), Priority.MEDIUM),
        (model.Health("x", HealthState.BLIND, "", "", 1), Priority.MEDIUM),
        (an_observation(), Priority.LOW),
    ],
)
def test_what_a_record_states_decides_how_soon_it_is_sealed(
    record: model.Record, expected: Priority
) -> None:
    assert priority_of(record) is expected


# -- floods ---------------------------------------------------------------------------------------


def counted(loop: Loop) -> int:
    """Findings sealed, and those that a record counts instead."""
    drops = [d for d in loop.records(model.Drop) if d.reason is DropReason.SUPPRESSED]
    return len(numbers(loop.sealed())) + sum(drop.count or 0 for drop in drops)


def flooded(path: Path, host: Host, source: list[Sighting], window_s: int = 3600) -> Loop:
    floods = FloodSettings(burst=5, per_minute=1, window_s=window_s)
    sensors = {"list": FakeSensor(host.clock, source)}
    return Loop(path, sensors=sensors, host=host, floods=floods).start()


def test_a_flood_is_sealed_as_its_beginning_and_a_count_of_the_rest(tmp_path: Path) -> None:
    source: list[Sighting] = [numbered(n, Severity.HIGH) for n in range(1000)]
    loop = flooded(tmp_path, Host(), source)

    loop.go(3)

    assert len(numbers(loop.sealed())) == 5
    assert counted(loop) == 1000
    loop.crash()


def test_a_count_leaves_when_its_window_ends_though_nothing_else_is_sealed(tmp_path: Path) -> None:
    source: list[Sighting] = [numbered(n) for n in range(5)]
    loop = flooded(tmp_path, Host(), source, window_s=60)
    loop.go(40)
    source += [numbered(n) for n in range(5, 20)]
    loop.go(55)
    before = counted(loop)

    loop.go(8)

    assert (before, counted(loop)) == (5, 20)
    loop.crash()


def test_what_was_held_back_and_not_yet_told_is_read_again_after_a_crash(tmp_path: Path) -> None:
    host = Host()
    source: list[Sighting] = [numbered(n) for n in range(50)]
    loop = flooded(tmp_path, host, source)
    loop.go(40)
    assert counted(loop) == 50
    source += [numbered(n) for n in range(50, 80)]
    loop.go(5)
    loop.crash()

    again = flooded(tmp_path, host, source)
    again.go(40)

    # A new bucket lets its burst pass: what counts is that each is told, and told once.
    assert counted(again) == 80
    again.crash()


def test_a_stop_tells_what_is_held_back(tmp_path: Path) -> None:
    host = Host()
    source: list[Sighting] = [numbered(n) for n in range(50)]
    loop = flooded(tmp_path, host, source)
    loop.go(40)
    source += [numbered(n) for n in range(50, 80)]
    loop.step(2)
    loop.stop()

    again = flooded(tmp_path, host, source)
    again.go(40)

    assert counted(again) == 80
    again.crash()


def test_a_disk_that_refuses_in_a_flood_costs_no_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: list[Sighting] = [numbered(n, Severity.HIGH) for n in range(50)]
    loop = flooded(tmp_path, Host(), source)
    with refusing_disk(monkeypatch):
        loop.go(60)
        source += [numbered(n, Severity.HIGH) for n in range(50, 80)]
        loop.go(60)
    loop.go(60)

    assert counted(loop) == 80
    loop.crash()


# -- the budget -----------------------------------------------------------------------------------


class Busy(FakeSensor):
    """Events come whether they are read or not; its buffer holds so many, and it hashes."""

    def __init__(self, clock: FakeClock, meter: FakeMeter) -> None:
        super().__init__(clock, [], is_rereadable=False)
        self.meter = meter
        self.per_s = 0
        self.level = Ease.NORMAL
        self.buffer = 2000
        self.made = self.seen = self.lost = 0
        self._made_at = clock.boot_ns()
        self.reader, writer = os.pipe()
        os.write(writer, b"x")
        os.close(writer)
        self.levels: list[Ease] = []

    def ease(self, level: Ease) -> None:
        self.level = level
        self.levels.append(level)

    def descriptors(self) -> Sequence[int]:
        return (self.reader,) if self.is_open and self.waiting() else ()

    def due(self) -> int | None:
        return None

    def waiting(self) -> int:
        now = self.clock.boot_ns()
        new = (now - self._made_at) * self.per_s // NS_PER_S
        if new or not self.per_s:
            self._made_at = now
            self.made += new
        return self.made - self.seen - self.lost

    def poll(self, deadline: int) -> Sequence[Sighting]:
        self.polls += 1
        waiting = self.waiting()
        lost = max(0, waiting - self.buffer)
        taken = waiting - lost
        self.seen, self.lost = self.seen + taken, self.lost + lost
        hashing = 500_000 if self.level < Ease.NO_HASHING else 0
        self.meter.charge(taken * (20_000 + hashing))
        self.clock.forward(0.001)
        drop = model.Drop(reason=DropReason.OVERFLOW, sensor="busy", count=lost)
        return [drop] if lost else []

    def stop(self) -> None:
        super().stop()
        os.close(self.reader)


def busy_loop(path: Path) -> tuple[Loop, Busy, FakeMeter]:
    host = Host()
    meter = FakeMeter(host.clock)
    busy = Busy(host.clock, meter)
    settings = BudgetSettings(cpu_percent_max=20, window_s=60)
    loop = Loop(
        path,
        sensors={"busy": busy, "list": FakeSensor(host.clock, [])},
        host=host,
        budget=Budget(settings, meter),
    ).start()
    return loop, busy, meter


def test_a_source_that_costs_too_much_is_eased_until_it_does_not_and_back_again(
    tmp_path: Path,
) -> None:
    loop, busy, _ = busy_loop(tmp_path)
    loop.go(61)
    busy.per_s = 1000
    loop.go(600)
    top = busy.level
    busy.per_s = 10
    loop.go(2400)

    told = [h.rung for h in loop.records(model.Health) if h.subject == "budget"]
    # Hashing is what was dear: without it the rest may stay. It is tried again, and given up again.
    assert top is Ease.NO_HASHING
    up, down = [Ease.SLOWER, Ease.NO_HASHING], [Ease.SLOWER, Ease.NORMAL]
    assert busy.levels == [*up, *up, *down]
    assert told == ["slower", "no hashing", "slower", "no hashing", "slower", "normal"]
    dropped = sum(d.count or 0 for d in loop.records(model.Drop))
    assert busy.seen + dropped + busy.waiting() == busy.made
    loop.stop()


def test_what_is_not_read_under_the_last_step_is_declared_and_reading_comes_back(
    tmp_path: Path,
) -> None:
    loop, busy, meter = busy_loop(tmp_path)
    loop.go(61)
    busy.per_s = 1000
    meter.cpu_percent = 90
    loop.go(300)
    polls = busy.polls
    assert busy.levels.index(Ease.HEARTBEAT) == 3
    loop.go(290)
    assert busy.polls == polls
    blind = loop.sealed()[-1].header.sensors
    assert {status.state for status in blind} == {HealthState.BLIND}
    meter.cpu_percent = 0
    busy.per_s = 10
    loop.go(1200)
    busy.per_s = 0
    loop.go(60)

    drops = [d for d in loop.records(model.Drop) if d.reason is DropReason.SOURCE_GAP]
    # The re-readable source is behind, and has lost nothing: it has no gap to state.
    assert {drop.sensor for drop in drops} == {"busy"}
    spans = [(d.first_boot or 0, d.last_boot or 0) for d in drops]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    assert spans[-1][1] - spans[0][0] >= 290 * NS_PER_S
    lost = sum(d.count or 0 for d in loop.records(model.Drop) if d.reason is DropReason.OVERFLOW)
    assert busy.seen + lost == busy.made
    assert busy.levels[-1] is Ease.NORMAL
    loop.stop()


def test_a_stop_under_the_last_step_states_what_was_not_read(tmp_path: Path) -> None:
    loop, _, meter = busy_loop(tmp_path)
    meter.cpu_percent = 90
    loop.go(400)
    loop.stop()

    (drop, *_) = [d for d in loop.records(model.Drop) if d.reason is DropReason.SOURCE_GAP]
    assert drop.detail == "not read: sensing was over its budget"


def test_the_budget_wakes_nobody(tmp_path: Path) -> None:
    host = Host()
    meter = FakeMeter(host.clock)
    loop = Loop(
        tmp_path,
        sensors={"idle": FakeSensor(host.clock, [])},
        host=host,
        budget=Budget(BudgetSettings(window_s=1), meter),
    ).start()
    loop.go(10)
    loop.selector.waits.clear()

    loop.go(600)

    # The loop's own longest wait is a minute.
    assert len(loop.selector.waits) <= 14
    loop.crash()


def test_findings_go_without_surroundings_when_enrichment_is_given_up(tmp_path: Path) -> None:
    host = Host()
    meter = FakeMeter(host.clock, cpu_percent=90)
    source: list[Sighting] = []
    loop = Loop(
        tmp_path,
        sensors={"p": FakeSensor(host.clock, source)},
        judges=[judged(Severity.HIGH)],
        host=host,
        budget=Budget(BudgetSettings(cpu_percent_max=20, window_s=60), meter),
    ).start()
    loop.go(185)
    meter.cpu_percent = 10
    source.append(an_observation(a_process(pid=666)))
    loop.go(62)

    assert numbers(loop.sealed()) == [666]
    assert loop.records(model.Observation) == []
    loop.crash()


# -- what a host does to whoever runs on it -------------------------------------------------------

YEAR_S = 365 * 86_400


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_set_by_a_year_costs_no_record_and_no_heartbeat(case: Case, years: int) -> None:
    case.loop.go(60)
    for step in range(6):
        case.host.clock.wall += (1 if step % 2 else -1) * years * YEAR_S * NS_PER_S
        case.source += [numbered(2 * step, Severity.HIGH), numbered(2 * step + 1)]
        case.loop.go(100)
    before = len(case.loop.sealed())
    case.loop.go(901)

    assert sorted(numbers(case.loop.sealed())) == list(range(12))
    assert len(case.loop.sealed()) - before == 3
    boots = [batch.header.boot_clock for batch in case.loop.sealed()]
    assert boots == sorted(boots)
    case.loop.crash()


def test_a_clock_set_by_a_year_in_a_flood_costs_no_count(tmp_path: Path) -> None:
    host = Host()
    source: list[Sighting] = [numbered(n) for n in range(50)]
    loop = flooded(tmp_path, host, source, window_s=60)
    for years in (1, -2, 1):
        loop.go(40)
        host.clock.wall += years * YEAR_S * NS_PER_S
        source += [numbered(n) for n in range(len(source), len(source) + 20)]
    loop.go(120)

    assert counted(loop) == 110
    loop.crash()


def test_after_a_suspend_it_goes_on_and_a_heartbeat_is_the_first_it_says(case: Case) -> None:
    case.loop.go(60)
    case.source.append(numbered(0))
    case.loop.step()
    # Eight hours in which nothing ran: the boot clock counts them, and so does the wall clock.
    case.host.clock.forward(8 * 3600)
    case.source.append(numbered(1, Severity.HIGH))
    before = len(case.loop.sealed())

    case.loop.go(1)

    assert numbers(case.loop.sealed()) == [1, 0] or numbers(case.loop.sealed()) == [0, 1]
    gap = [b.header.boot_clock for b in case.loop.sealed()][before - 1 : before + 1]
    assert gap[1] - gap[0] >= 8 * 3600 * NS_PER_S
    case.loop.crash()


def test_a_full_disk_of_four_mebibytes_ends_nothing_and_hides_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 4) as disk:
        case = Case(disk.path, OutboxSettings())
        case.sensor.batch = 20
        case.loop.go(5)
        # More than the disk holds, several times over, while somebody else takes what is left.
        for round_ in range(6):
            base = 100 * round_
            case.source += [
                numbered(base + n, Severity.HIGH if n % 10 == 0 else Severity.LOW, 60_000)
                for n in range(60)
            ]
            if round_ % 2:
                disk.fill()
            case.loop.go(120)
            if round_ % 2:
                disk.release()
        case.loop.go(200)

        assert case.sensor.at == len(case.source)
        assert missing(case) == set()
        case.source.append(numbered(9999, Severity.HIGH))
        case.loop.go(40)
        assert 9999 in numbers(case.loop.sealed())
        case.loop.crash()
        case.run().go(5)
        assert missing(case) == set()
        case.loop.crash()


def test_a_state_that_turns_read_only_is_waited_out(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 8) as disk:
        case = Case(disk.path)
        case.loop.go(5)
        case.source.append(numbered(0))
        case.loop.go(31)
        # Nothing may be open for writing while it is remounted, as after an error of the disk.
        case.loop.crash()
        case.run()
        with refused_writes():
            case.source += [numbered(1, Severity.HIGH), numbered(2)]
            case.loop.go(300)
            assert numbers(case.loop.sealed()) == [0]
        case.loop.go(40)

        assert sorted(numbers(case.loop.sealed())) == [0, 1, 2]
        case.loop.crash()


@contextlib.contextmanager
def refused_writes() -> Iterator[None]:
    """Let every call that would write answer as on a read-only file system."""

    def refuse(*_args: object, **_named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.MonkeyPatch.context() as patch:
        for call in ("pwrite", "write", "fdatasync", "fsync", "truncate", "rename", "replace"):
            patch.setattr(os, call, refuse)
        yield


def test_a_start_on_a_read_only_state_is_refused_and_a_later_one_lost_nothing(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "disk", 8) as disk:
        case = Case(disk.path)
        case.source.append(numbered(0))
        case.loop.go(31)
        case.loop.crash()
        disk.remount("ro")
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            case.run()
        case.loop.crash()
        case.source += [numbered(1, Severity.HIGH), numbered(2)]

        disk.remount("rw")
        case.run().go(60)

        assert sorted(numbers(case.loop.sealed())) == [0, 1, 2]
        assert missing(case) == set()
        case.loop.crash()


def test_without_a_free_descriptor_it_goes_on_and_stores_when_there_is_one(case: Case) -> None:
    case.loop.go(5)
    case.source.append(numbered(0, Severity.MEDIUM))
    case.loop.go(3)
    with no_descriptors():
        # A priority that has no segment yet: a file has to be opened for it.
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            os.open("/dev/null", os.O_RDONLY)
        case.source += [numbered(1, Severity.HIGH), numbered(2)]
        case.loop.go(90)

    case.loop.go(40)

    assert sorted(numbers(case.loop.sealed())) == [0, 1, 2]
    case.loop.crash()


def test_a_visitor_that_cannot_be_let_in_for_want_of_descriptors_ends_nothing(case: Case) -> None:
    case.loop.go(5)
    visitor = socket.socket(socket.AF_UNIX)
    visitor.setblocking(False)
    with no_descriptors():
        visitor.connect(str(case.path / "door.sock"))
        case.source.append(numbered(0, Severity.MEDIUM))
        case.loop.selector.waits.clear()
        case.loop.go(30)
        waits = len(case.loop.selector.waits)

    case.loop.go(DEAF_S + 1)

    assert numbers(case.loop.sealed()) == [0]
    # Waiting for a descriptor is no busy loop.
    assert waits < 20
    assert case.loop.has_visitor()
    visitor.close()
    case.loop.crash()


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process no descriptor that is free."""
    held: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- the door -------------------------------------------------------------------------------------


def test_a_visitor_is_greeted_and_told_what_it_may_read(case: Case) -> None:
    case.source.append(numbered(0))
    case.loop.go(31)
    visitor = case.knock()

    hello, known, visible = visitor.heard()

    assert isinstance(hello, frames.Hello)
    assert known == frames.KnownCheckpoint(0)
    assert (hello.tenant, hello.agent) == (case.host.facts.tenant, case.host.agent)
    assert isinstance(visible, frames.VisibleFrame)
    assert visible.is_all
    shown = {(s.name, s.durable) for s in visible.segments}
    assert shown == {(str(v.segment), v.durable) for v in case.loop.outbox.visible()}
    case.source.append(numbered(1))
    case.loop.go(31)
    (news,) = visitor.heard()
    assert isinstance(news, frames.VisibleFrame)
    assert [s.durable for s in news.segments] == [
        v.durable for v in case.loop.outbox.visible() if v.segment.priority is Priority.LOW
    ]
    visitor.close()
    case.loop.crash()


def test_a_receipt_settles_and_is_named_in_the_next_header(case: Case) -> None:
    case.source += [numbered(0), numbered(1, Severity.HIGH)]
    case.loop.go(31)
    last = case.loop.sealed()[-1]
    visitor = case.knock()

    visitor.send(signed(case, receipt_for(case, last)))
    case.source.append(numbered(2))
    case.loop.go(31)

    assert case.loop.outbox.owed == 1
    said = case.loop.sealed()[-1].header.last_receipt
    assert said is not None
    assert (said.epoch, said.seq) == (last.header.epoch, last.header.seq)
    case.loop.crash()
    case.run()
    assert case.loop.outbox.owed == 1
    visitor.close()
    case.loop.crash()


@pytest.mark.parametrize("what", ["signature", "agent", "hash", "never sealed", "not durable"])
def test_a_forged_receipt_frees_nothing_and_closes_the_door(case: Case, what: str) -> None:
    case.source.append(numbered(0))
    case.loop.go(31)
    last = case.loop.sealed()[-1]
    owed = case.loop.outbox.owed
    visitor = case.knock()
    forged = {
        "signature": lambda: signed(case, receipt_for(case, last), SigningKey.generate()),
        "agent": lambda: signed(case, receipt_for(case, last, agent=bytes(16))),
        "hash": lambda: signed(case, receipt_for(case, last, header_hash=bytes(32))),
        "never sealed": lambda: signed(case, receipt_for(case, last, seq=99)),
        "not durable": lambda: signed(
            case, receipt_for(case, last, durability=model.Durability.RECEIVED)
        ),
    }[what]()

    visitor.send(forged)

    assert case.loop.outbox.owed == owed
    assert not case.loop.has_visitor()
    # Sensing goes on behind the closed door, and the door opens again.
    case.source.append(numbered(1, Severity.HIGH))
    case.loop.go(CLOSED_S + 1)
    assert 1 in numbers(case.loop.sealed())
    again = case.knock()
    assert case.loop.has_visitor()
    again.close()
    visitor.close()
    case.loop.crash()


def test_a_statement_is_signed_on_request_and_each_is_sealed(case: Case) -> None:
    case.loop.go(5)
    visitor = case.knock()
    visitor.heard()
    request = frames.SignRequest(7, model.StatementKind.RENEW, b"s" * 32, b"n" * 16)

    visitor.send(request)
    case.loop.go(3)

    answer = next(f for f in visitor.heard() if isinstance(f, frames.Signed))
    assert answer.id == 7
    envelope.verify(PayloadType.STATEMENT, answer.payload, answer.signature, case.host.key.public)
    stated = codec.decode_statement(answer.payload)
    assert (stated.spki_sha256, stated.nonce) == (b"s" * 32, b"n" * 16)
    assert (stated.tenant, stated.agent) == (case.host.facts.tenant, case.host.agent)
    (audit,) = case.loop.records(model.Audit)
    assert audit.action == "statement.renew"
    assert model.Argument("spki_sha256", (b"s" * 32).hex()) in audit.detail
    visitor.close()
    case.loop.crash()


def test_more_statements_than_an_hour_allows_are_refused_in_words(case: Case) -> None:
    case.loop.go(5)
    visitor = case.knock()
    for number in range(6):
        visitor.send(frames.SignRequest(number, model.StatementKind.REATTEST, b"s" * 32, b"n" * 16))
    visitor.send(frames.SignRequest(9, model.StatementKind.ENROL, b"s" * 32, b"n" * 16))
    case.loop.go(3)

    answers = [f for f in visitor.heard() if isinstance(f, frames.Signed)]

    assert [bool(a.signature) for a in answers] == [True] * 4 + [False] * 3
    assert all(a.refused for a in answers[4:])
    assert len(case.loop.records(model.Audit)) == 4
    assert case.loop.has_visitor()
    visitor.close()
    case.loop.crash()


def test_whoever_cries_damage_is_heard_every_ten_seconds(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.source.append(numbered(0))
    case.loop.go(31)
    (visible, *_) = case.loop.outbox.visible()
    looked: list[object] = []

    def examine(segment: object) -> int:
        looked.append(segment)
        return 0

    monkeypatch.setattr(case.loop.outbox, "examine", examine)
    visitor = case.knock()

    for _ in range(5):
        visitor.send(*[frames.Damaged(str(visible.segment))] * 20)
        case.loop.go(EXAMINE_S / 2)

    assert len(looked) == 3
    visitor.send(frames.Damaged("../../etc/shadow"))
    assert not case.loop.has_visitor()
    visitor.close()
    case.loop.crash()


def test_every_segment_called_damaged_is_looked_at_in_its_turn(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for severity in (Severity.LOW, Severity.HIGH):
        case.source.append(numbered(0, severity))
    case.loop.go(31)
    names = {str(item.segment) for item in case.loop.outbox.visible()}
    looked: list[str] = []

    def examine(segment: object) -> int:
        looked.append(str(segment))
        return 0

    monkeypatch.setattr(case.loop.outbox, "examine", examine)
    visitor = case.knock()

    visitor.send(*[frames.Damaged(name) for name in sorted(names)])
    assert len(looked) == 1
    case.loop.go(len(names) * EXAMINE_S)

    assert len(names) > 1
    assert sorted(looked) == sorted(names)
    visitor.close()
    case.loop.crash()


def test_a_batch_found_damaged_is_declared_and_the_rest_stays_owed(case: Case) -> None:
    for n in range(3):
        case.source.append(numbered(n))
        case.loop.go(31)
    visible = next(v for v in case.loop.outbox.visible() if v.segment.priority is Priority.LOW)
    file = case.path / "segments" / str(visible.segment)
    raw = bytearray(file.read_bytes())
    raw[40] ^= 1
    file.write_bytes(raw)
    owed = case.loop.outbox.owed
    visitor = case.knock()

    visitor.send(frames.Damaged(str(visible.segment)))
    assert case.loop.outbox.owed == owed - 1
    case.source.append(numbered(9, Severity.HIGH))
    case.loop.go(1)

    data = (case.path / "headers.log").read_bytes()
    newest = codec.decode_header([n for *_, n in _decoded(data)][-1].batches[0].header)
    (dropped,) = newest.dropped
    assert (dropped.reason, dropped.batches) == (DropReason.QUARANTINED, 1)
    visitor.close()
    case.loop.crash()


def _decoded(data: bytes) -> list[tuple[int, int, Committed]]:
    return [(b, e, n) for b, e, n in decode_notes(data) if isinstance(n, Committed)]


def test_a_half_from_another_time_is_not_spoken_to(case: Case) -> None:
    visitor = case.knock()
    visitor.send(frames.Hello(frames.DOOR_VERSION + 1))
    assert case.loop.has_visitor()

    visitor.send(frames.Hello(frames.DOOR_VERSION + 2))

    assert not case.loop.has_visitor()
    visitor.close()
    case.loop.crash()


def test_metrics_are_told_to_whoever_asks(case: Case) -> None:
    case.source += [numbered(0), numbered(1, Severity.HIGH)]
    case.loop.go(31)
    visitor = case.knock()
    visitor.heard()
    visitor.send(frames.MetricsWanted())

    (told,) = visitor.heard()

    assert isinstance(told, frames.MetricsFrame)
    values = {(s.name, s.labels): s.value for s in told.samples}
    assert values["vedette_agent_outbox_batches", ()] == case.loop.outbox.owed
    assert values["vedette_agent_records_sealed_total", ()] == sum(
        b.header.records for b in case.loop.sealed()
    )
    visitor.close()
    case.loop.crash()


class Desk:
    """A content desk that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.records: list[model.Record] = []

    def start(self) -> Sequence[model.Record]:
        return [model.Health("content", HealthState.OK, "", "", 1)]

    def stamps(self) -> tuple[model.ContentStamp, ...]:
        return ()

    def changed(self) -> None:
        self.told.append("changed")

    def online(self, *, is_online: bool) -> None:
        self.told.append(is_online)

    def descriptors(self) -> Sequence[int]:
        return ()

    def due(self) -> int | None:
        return 0 if self.records else None

    def poll(self) -> Sequence[model.Record]:
        found, self.records = self.records, []
        return found

    def chunk(self, chunk: frames.Chunk) -> None:
        self.told.append(chunk)

    def stop(self) -> None:
        self.told.append("stopped")


def test_the_content_desk_hears_what_concerns_it_and_its_records_are_sealed(
    tmp_path: Path,
) -> None:
    host, desk = Host(), Desk()
    loop = Loop(tmp_path, host=host, content=desk, is_open=True).start()
    visitor = Visitor(loop)
    chunk = frames.Chunk(1, b"data", 4)

    visitor.send(
        frames.Uplink(is_online=True),
        frames.HintFrame(model.HintKind.CONTENT_CHANGED),
        frames.HintFrame(model.HintKind.REPORT_HEAD),
        chunk,
    )
    desk.records.append(model.Health("content", HealthState.DEGRADED, "stale", "", 2))
    loop.go(3)
    loop.stop()

    assert desk.told == [True, "changed", chunk, "stopped"]
    assert [h.state for h in loop.records(model.Health)] == [
        HealthState.OK,
        HealthState.DEGRADED,
    ]
    visitor.close()


class RestatingSensor(FakeSensor):
    """One that counts how often it was asked to state everything."""

    asked = 0

    def restate(self) -> None:
        self.asked += 1


def test_a_hint_to_resend_the_inventory_reaches_those_who_keep_one(tmp_path: Path) -> None:
    host = Host()
    keeps = RestatingSensor(host.clock, [])
    other = FakeSensor(host.clock, [])
    loop = Loop(tmp_path, sensors={"keeps": keeps, "other": other}, host=host, is_open=True)
    visitor = Visitor(loop.start())

    visitor.send(frames.HintFrame(model.HintKind.RESEND_INVENTORY))

    assert keeps.asked == 1
    visitor.close()
    loop.crash()


def test_a_new_visitor_is_told_how_much_of_the_log_is_known(case: Case) -> None:
    """Else one that was restarted would bring a checkpoint without the proof it needs."""
    head = merkle.TreeHead(3, bytes(32))
    note = tlog.sign_checkpoint(tlog.Checkpoint(LOG_NAME, head), case.loop.log_key)
    first = case.knock()
    first.send(frames.CheckpointFrame(note, ()))
    first.close()
    case.loop.step(2)

    second = case.knock()

    assert frames.KnownCheckpoint(3) in second.heard()
    second.close()
    case.loop.crash()


def test_a_checkpoint_that_does_not_verify_closes_the_door(case: Case) -> None:
    visitor = case.knock()

    visitor.send(frames.CheckpointFrame(b"not a note", ()))

    assert not case.loop.has_visitor()
    visitor.close()
    case.loop.crash()


def test_a_visitor_under_the_number_of_the_one_before_is_heard(case: Case) -> None:
    """A closed descriptor's number is given out again: the new visitor must not go unseen."""
    for _ in range(3):
        visitor = case.knock()
        visitor.heard()
        visitor.send(frames.MetricsWanted())
        assert any(isinstance(f, frames.MetricsFrame) for f in visitor.heard())
        visitor.close()
        case.loop.step(2)
    case.loop.crash()


class RestlessSensor(FakeSensor):
    """Always has more, and time passes while it is asked."""

    def due(self) -> int | None:
        self.clock.forward(1e-6)
        return self.clock.boot_ns()


def test_a_source_with_more_to_tell_is_read_although_time_passes(tmp_path: Path) -> None:
    host = Host()
    sensor = RestlessSensor(host.clock, [])
    loop = Loop(tmp_path, sensors={"restless": sensor}, host=host).start()

    loop.step(3)

    assert sensor.polls == 3
    loop.stop()


def test_what_a_visitor_said_of_the_uplink_leaves_with_it(tmp_path: Path) -> None:
    host, desk = Host(), Desk()
    loop = Loop(tmp_path, host=host, content=desk, is_open=True).start()
    visitor = Visitor(loop)
    visitor.send(frames.Uplink(is_online=True))

    visitor.close()
    loop.step(2)

    assert desk.told == [True, False]
    loop.step(3)
    assert desk.told == [True, False]
    loop.crash()


def test_an_inventory_is_sealed_without_the_secrets_it_holds(case: Case) -> None:
    entry = model.Persistence("cron_job", "@daily", "/etc/crontab", "dump --password hunter2")
    entity = model.Entity(model.Role.TARGET, entry)
    source = model.Source("persistence", "stat", "")

    case.source.append(model.InventoryItem(model.Change.ADDED, entity, 1, source))
    case.loop.go(61)

    (item,) = case.loop.records(model.InventoryItem)
    case.loop.stop()
    assert "hunter2" not in str(item)
    assert "dump --password <redacted:" in str(item)


def test_a_judge_that_fails_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    def failing(_observation: model.Observation) -> Sequence[model.Finding]:
        raise LookupError("a fault")

    host = Host()
    sensor = FakeSensor(host.clock, [an_observation(a_process(pid=666))])
    judges = [failing, judged(Severity.HIGH)]
    loop = Loop(tmp_path, sensors={"processes": sensor}, judges=judges, host=host).start()
    loop.go(31)

    (drop,) = (drop for drop in loop.records(model.Drop) if drop.reason is DropReason.QUARANTINED)
    assert (drop.count, "LookupError" in drop.detail) == (1, True)
    assert loop.records(model.Finding)
    loop.crash()
