from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.ledger.flags import FlagKind
from collector.ledger.watch import Watch, WatchSettings
from proto.model import EpochReason, EpochStart, Finding
from tests.collector.ledger.world import World, a_record
from tests.collector.sealing import TENANT, AnAgent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def told(world: World) -> list[str]:
    while world.sealer.seal_pending(TENANT, world.log):
        pass
    world.admit_all()
    return [
        one.record.rule.id
        for batch in world.admitted.read(0, 999)
        for one in batch.records
        if isinstance(one.record, Finding)
    ]


def test_a_fork_is_told_at_once_and_once_over_restarts(world: World) -> None:
    agent = AnAgent()
    twin = agent.twin()
    world.append(agent.seal(), twin.seal([a_record()]))

    looks = [world.watch.look(), world.watch.look()]
    again = Watch(TENANT, world.rooms, world.clock, WatchSettings())

    assert looks == [1, 0]
    assert again.look() == 0
    assert told(world) == ["ledger.fork"]


def test_a_wrong_root_is_told_after_admit_found_it(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal([a_record()], root=b"r" * 32))
    world.admit_all()

    world.watch.look()

    assert told(world) == ["ledger.body"]


def test_a_hole_is_told_when_it_has_stood_for_long_and_not_when_it_closed(world: World) -> None:
    agent, other = AnAgent(0), AnAgent(1)
    first, second, third = (agent.seal() for _ in range(3))
    _, later = other.seal(), other.seal()
    world.append(first, third, later)

    early = world.watch.look()
    world.append(second)
    world.clock.forward(400)

    assert (early, world.watch.look(), world.watch.look()) == (0, 1, 0)
    assert told(world) == ["ledger.hole"]


def test_a_memory_that_is_lost_is_told_at_once(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal())
    agent.start(EpochStart(reason=EpochReason.STATE_LOSS))
    world.append(agent.seal())

    world.watch.look()

    assert told(world) == ["ledger.state_loss"]


def test_an_epoch_whose_parent_never_comes_condemns_its_agent_after_a_while(
    world: World,
) -> None:
    agent = AnAgent()
    world.append(agent.seal())
    agent.start()
    agent.seal()
    agent.start()
    world.append(agent.seal())

    early = world.watch.look()
    trusted = not world.reader.is_quarantined(agent.id.bytes, 99)
    world.clock.forward(400)
    world.watch.look()
    world.watch.look()

    assert (early, trusted) == (0, True)
    assert world.reader.is_quarantined(agent.id.bytes, 99)
    assert [flag.kind for flag in world.reader.flags(0, 9)] == [
        FlagKind.STATE_LOSS,
        FlagKind.ORPHAN,
    ]
    assert told(world) == ["ledger.orphan"]


def test_an_epoch_whose_parent_came_late_condemns_nobody(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal())
    agent.start()
    parent = agent.seal()
    agent.start()
    world.append(agent.seal(), parent)
    world.clock.forward(4000)

    assert world.watch.look() == 0
    assert not world.reader.is_quarantined(agent.id.bytes, 99)
