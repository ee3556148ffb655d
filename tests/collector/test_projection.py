import base64
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.identity import TenantId
from collector.errors import LedgerUnavailable
from collector.ports import AdmittedBatch
from collector.projection import Place, ProjectionRunner, ProjectionSettings
from proto.model import Audit, Record
from proto.note import NoteKey
from proto.tlog import open_checkpoint
from tests.collector.ledger.world import LOG_KEY, World, a_record, an_audit
from tests.collector.sealing import TENANT, AnAgent

ROOT = Path(__file__).parents[2]


class Counting:
    """Keeps each action it sees, and derives one record from every third."""

    name = "counting"
    schema = """
    CREATE TABLE seen (position INTEGER PRIMARY KEY, action TEXT NOT NULL);
    CREATE VIRTUAL TABLE words USING fts5 (action);
    CREATE VIEW some AS SELECT action FROM seen;
    CREATE TRIGGER spell AFTER INSERT ON seen BEGIN
        INSERT INTO words (rowid, action) VALUES (new.position, new.action);
        SELECT 1;
    END
    """

    def __init__(self) -> None:
        self.breaks_at: str | None = None
        self.error: Exception = ValueError("a bug")

    def apply(self, db: sqlite3.Connection, batch: AdmittedBatch) -> Sequence[Record]:
        if batch.derived:
            return ()
        for admitted in batch.records:
            assert isinstance(admitted.record, Audit)
            db.execute("INSERT INTO seen VALUES (?, ?)", (batch.position, admitted.record.action))
            if admitted.record.action == self.breaks_at:
                raise self.error
        (count,) = db.execute("SELECT count(*) FROM seen").fetchone()
        return [an_audit(f"third {count}")] if count % 3 == 0 else []


class Ticking(Counting):
    name = "ticking"

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]:
        if self.breaks_at == "tick":
            raise self.error
        return [an_audit("tick")]


class Bench:
    """A world with one projection over it."""

    def __init__(self, world: World, projection: Counting) -> None:
        self.world = world
        self.projection = projection
        self.agent = AnAgent()
        self.number = 0
        self.runner = self.open()

    def open(self) -> ProjectionRunner:
        world = self.world
        place = Place(
            TENANT,
            world.files.projection(TENANT, self.projection.name),
            world.admitted,
            world.ledger.mark,
        )
        settings = ProjectionSettings(chunk_batches_max=4)
        return ProjectionRunner(self.projection, place, world.clock, settings)

    def feed(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.world.append(self.agent.seal([a_record(str(self.number))]))
        self.world.admit_all()

    def run(self) -> None:
        while self.runner.step():
            pass

    def seal(self) -> None:
        while self.world.sealer.seal_pending(TENANT, self.runner):
            pass
        self.world.admit_all()

    def seen(self) -> list[str]:
        file = sqlite3.connect(self.world.files.projection(TENANT, self.projection.name))
        rows = file.execute("SELECT action FROM seen ORDER BY position").fetchall()
        file.close()
        return [action for (action,) in rows]

    def sealed(self) -> list[str]:
        self.world.admit_all()
        return [
            one.record.action
            for batch in self.world.admitted.read(0, 9999)
            if batch.derived
            for one in batch.records
            if isinstance(one.record, Audit)
        ]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def bench(world: World) -> Iterator[Bench]:
    bench = Bench(world, Counting())
    yield bench
    bench.runner.close()


def numbers(upto: int) -> list[str]:
    return [str(number) for number in range(1, upto + 1)]


def test_every_batch_is_applied_once_in_order_over_restarts(bench: Bench) -> None:
    bench.feed(6)
    moved = [bench.runner.step() for _ in range(3)]
    bench.runner.close()
    bench.feed(3)
    bench.runner = bench.open()
    bench.run()

    assert moved == [4, 2, 0]
    assert bench.seen() == numbers(9)
    assert bench.runner.cursor == 9


def test_a_poisoned_batch_is_noted_and_passed_with_no_effect_left(bench: Bench) -> None:
    bench.projection.breaks_at = "2"
    bench.feed(4)

    bench.run()

    assert bench.seen() == ["1", "3", "4"]
    assert bench.runner.lag().poisoned == 1
    assert bench.runner.cursor == 4


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), MemoryError()])
def test_a_failing_machine_is_no_poison_and_nothing_has_moved(
    bench: Bench, error: Exception
) -> None:
    bench.projection.breaks_at, bench.projection.error = "2", error
    bench.feed(4)

    with pytest.raises((LedgerUnavailable, MemoryError)):
        bench.runner.step()

    assert (bench.seen(), bench.runner.cursor) == ([], 0)
    bench.projection.breaks_at = None
    bench.run()
    assert bench.seen() == numbers(4)


def test_what_is_derived_waits_in_the_same_transaction_and_is_sealed_once(bench: Bench) -> None:
    bench.feed(7)
    bench.run()

    waiting = bench.runner.lag().pending
    bench.seal()
    bench.run()

    assert waiting == 2
    assert bench.sealed() == ["third 3", "third 6"]
    assert bench.runner.lag().pending == 0


def test_a_rebuild_gives_the_same_effects_and_seals_nothing_again(bench: Bench) -> None:
    bench.feed(7)
    bench.run()
    bench.seal()
    bench.run()
    before = bench.seen()

    bench.runner.rebuild()
    emptied = bench.seen()
    bench.run()
    bench.seal()

    assert emptied == []
    assert bench.seen() == before
    assert bench.sealed() == ["third 3", "third 6"]
    bench.feed(2)
    bench.run()
    bench.seal()
    assert bench.sealed() == ["third 3", "third 6", "third 9"]


def test_a_rebuild_loses_nothing_that_waited_for_its_seal(bench: Bench) -> None:
    bench.feed(7)
    bench.run()

    bench.runner.rebuild()
    bench.run()
    bench.seal()

    assert bench.sealed() == ["third 3", "third 6"]


def test_a_file_that_was_lost_is_built_anew_and_seals_nothing_again(bench: Bench) -> None:
    bench.feed(4)
    bench.run()
    bench.seal()
    bench.runner.close()
    path = bench.world.files.projection(TENANT, "counting")
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

    bench.feed(3)
    bench.runner = bench.open()
    bench.run()
    bench.seal()

    assert bench.seen() == numbers(7)
    assert bench.sealed() == ["third 3", "third 6"]


def test_a_live_projection_speaks_when_time_passes_but_not_while_it_rebuilds(
    world: World,
) -> None:
    bench = Bench(world, Ticking())
    bench.feed(1)
    bench.run()
    bench.runner.tick()

    bench.runner.rebuild()
    bench.runner.tick()
    bench.run()
    bench.runner.tick()
    bench.seal()

    assert bench.sealed() == ["tick", "tick"]
    bench.projection.breaks_at = "tick"
    bench.runner.tick()
    assert bench.runner.lag().poisoned == 0
    bench.runner.close()


def test_a_projection_that_is_not_live_has_nothing_to_say(bench: Bench) -> None:
    bench.feed(1)
    bench.run()

    bench.runner.tick()

    assert bench.runner.lag().pending == 0


def test_the_lag_is_told_in_batches_and_seconds(bench: Bench) -> None:
    bench.feed(5)
    bench.world.clock.forward(30)

    behind = bench.runner.lag()
    bench.run()
    level = bench.runner.lag()

    assert (behind.batches, behind.seconds) == (5, 30.0)
    assert (level.batches, level.seconds) == (0, 0.0)


@given(st.lists(st.sampled_from(["feed", "step", "seal", "rebuild", "reopen"]), max_size=25))
@settings(max_examples=25)
def test_no_order_of_events_changes_what_is_derived(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    bench = Bench(World(tmp_path_factory.mktemp("world")), Counting())
    for step in steps:
        match step:
            case "feed":
                bench.feed(2)
            case "step":
                bench.runner.step()
            case "seal":
                bench.seal()
            case "rebuild":
                bench.runner.rebuild()
            case _:
                bench.runner.close()
                bench.runner = bench.open()
    bench.run()
    bench.seal()
    bench.run()

    assert bench.seen() == numbers(bench.number)
    assert bench.sealed() == [f"third {n}" for n in range(3, bench.number + 1, 3)]
    bench.runner.close()
    bench.world.close()


@pytest.mark.slow
def test_a_worker_killed_at_any_moment_admits_applies_and_seals_everything_once(
    tmp_path: Path, fault_count: int
) -> None:
    random, shown, count, done = Random(5), list[bytes](), 40 * fault_count, False
    command = [sys.executable, "-m", "tests.collector.working", str(tmp_path), str(count)]
    for attempt in range(fault_count + 1):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if attempt < fault_count:
                first = process.stdout.readline()
                time.sleep(random.uniform(0, 0.1))
                process.kill()
            else:
                first = ""
            lines = (first + process.stdout.read()).split("\n")[:-1]
            done = lines[-1:] == ["done"]
            shown += [base64.b64decode(line) for line in lines if line != "done"]

    assert done
    world = World(tmp_path)
    bench = Bench(world, Counting())
    assert bench.seen() == numbers(count)
    assert bench.sealed() == [f"third {n}" for n in range(3, count + 1, 3)]
    assert world.log.size == world.reader.last_position()
    for note in shown:
        # Whatever was shown before a kill is still the beginning of what there is.
        head = open_checkpoint(note, [NoteKey(world.origin, LOG_KEY.public)]).head
        assert world.log.reader.head_at(head.size) == head
    bench.runner.close()
    world.close()
