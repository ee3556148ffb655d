import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import LedgerUnavailable
from collector.gateway.states import REFRESH_S, LedgerStates
from collector.ledger.receipts import LedgerState
from tests.collector.ledger.world import World
from tests.collector.sealing import OTHER_TENANT, TENANT, AnAgent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


async def test_a_tenant_is_known_after_it_was_learned_and_its_log_grows(world: World) -> None:
    states = LedgerStates(world.ledger, world.files)
    with pytest.raises(KeyError):
        states(TENANT)
    await states.learn(TENANT)
    generation = world.ledger.generation(TENANT)
    before = states(TENANT)

    world.append(AnAgent().seal())
    world.admit_all()
    await states.refresh()

    assert before == LedgerState(generation, 0)
    assert states(TENANT) == LedgerState(generation, 1)
    states.close()


async def test_a_tenant_the_worker_has_not_come_to_has_an_empty_log(world: World) -> None:
    states = LedgerStates(world.ledger, world.files)
    await states.learn(OTHER_TENANT)

    await states.refresh()

    assert states(OTHER_TENANT).log_size == 0
    with pytest.raises(LedgerUnavailable):
        await states.log(OTHER_TENANT)


async def test_the_sizes_are_looked_at_by_themselves(world: World) -> None:
    states = LedgerStates(world.ledger, world.files)
    await states.learn(TENANT)
    task = asyncio.get_running_loop().create_task(states.run())

    world.append(AnAgent().seal())
    world.admit_all()
    await asyncio.sleep(REFRESH_S + 0.3)
    task.cancel()

    assert states(TENANT).log_size == 1
    states.close()
