import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import LedgerCorrupt
from collector.ledger.admitted import AdmittedCache, AdmittedReader
from tests.collector.ledger.world import World, a_record, an_audit
from tests.collector.sealing import NOW, TENANT, AnAgent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_nothing_above_the_verified_mark_is_read(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal([a_record()]))
    world.admit_all()
    world.append(agent.seal([a_record()]))

    chunk = world.admitted.chunk(0, 99)

    assert (chunk.upto, [batch.position for batch in chunk.batches]) == (1, [1])
    assert world.admitted.mark() == 1
    assert world.admitted.chunk(1, 99).upto == 1


def test_what_is_read_anew_is_what_the_cache_held(world: World) -> None:
    agent = AnAgent()
    world.append(*[agent.seal([a_record(str(n))]) for n in range(5)])
    world.admit_all()

    cold = AdmittedReader(TENANT, world.reader, world.log.reader)

    assert cold.read(0, 99) == world.admitted.read(0, 99)
    assert cold.read(0, 99)[3].records[0].record == an_audit("3")


def test_refused_batches_are_passed_over_and_the_cursor_moves_on(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal(), agent.seal([a_record()], root=b"r" * 32))
    world.admit_all()

    chunk = world.admitted.chunk(0, 99)

    assert ([batch.position for batch in chunk.batches], chunk.upto) == ([1], 2)


def test_reading_batches_looks_past_any_number_of_refused_ones(world: World) -> None:
    agent = AnAgent()
    bad = [agent.seal([a_record()], root=b"r" * 32) for _ in range(9)]
    world.append(*bad, agent.seal(), agent.seal())
    world.admit_all()

    assert [batch.position for batch in world.admitted.read(0, 1)] == [10]
    assert [batch.position for batch in world.admitted.read(0, 5)] == [10, 11]
    assert world.admitted.read(11, 5) == []


def test_the_age_of_what_waits_is_that_of_its_first_batch(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal())
    before = world.admitted.received_after(0)
    world.admit_all()

    assert (before, world.admitted.received_after(0)) == (None, NOW)
    assert world.admitted.received_after(1) is None


def test_trust_is_what_it_was_when_the_batch_was_admitted(world: World) -> None:
    agent = AnAgent()
    twin = agent.twin()
    world.append(agent.seal())
    world.admit_all()
    world.append(twin.seal([a_record()]), agent.seal())
    world.admit_all()

    cold = AdmittedReader(TENANT, world.reader, world.log.reader)

    assert [batch.trusted for batch in cold.read(0, 99)] == [True, False]


def test_our_own_batches_say_that_they_are_derived(world: World) -> None:
    world.append(AnAgent().seal())
    world.sealer.seal(TENANT, [an_audit()])
    world.admit_all()

    assert [batch.derived for batch in world.admitted.read(0, 9)] == [False, True]


def test_a_batch_that_changed_since_it_was_admitted_is_corruption(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal([a_record()]))
    world.admit_all()
    other = sqlite3.connect(world.files.ledger(TENANT))
    other.execute("UPDATE batches SET body = x'00'")
    other.commit()
    other.close()

    cold = AdmittedReader(TENANT, world.reader, world.log.reader)

    with pytest.raises(LedgerCorrupt, match="batch 1"):
        cold.read(0, 9)


def test_the_cache_is_bounded_by_records_and_keeps_the_newest(world: World) -> None:
    agent = AnAgent()
    world.append(*[agent.seal([a_record()] * 3) for _ in range(6)])
    world.admit_all()
    batches = world.admitted.read(0, 9)
    cache = AdmittedCache(records_max=8)

    for batch in (*batches, batches[-1]):
        cache.put(batch)

    assert [cache.get(n) is not None for n in range(1, 7)] == [False] * 4 + [True] * 2
