"""Every tenant and destination has a task of its own, which nobody else's trouble touches."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from certs.identity import TenantId
from collector.errors import LedgerUnavailable
from collector.forward.delivery import Tools
from collector.forward.event import Place
from collector.forward.forwarder import Forwarder
from collector.forward.ports import TenantLedger
from collector.forward.settings import AnyDestination, BatchLimits, Patience
from collector.forward.states import Phase
from collector.forward.store import ForwardReader
from runtime.clock import SystemClock
from tests.collector.builders import TENANT
from tests.collector.forward.builders import POOL, a_file, a_hec, eventually, some_batches
from tests.fakes.hec import HecReceiver
from tests.fakes.source import MemorySource

OTHER = TenantId(b"\x07" * 16)
QUICK = Patience(poll_wait_s=0.05, retry_wait_s_first=0.05, retry_wait_s_max=0.1)
AT_ONCE = BatchLimits(wait_s_max=0)


class Tenants:
    """The tenants of a collector, with ledgers in memory."""

    def __init__(self, path: Path, *tenants: TenantId) -> None:
        self.path = path
        self.sources = {tenant: MemorySource(some_batches(3)) for tenant in tenants}
        self.is_down = False
        self.is_unlisted = False

    def tenants(self) -> list[TenantId]:
        if self.is_unlisted:
            raise OSError(5, "Input/output error")
        return list(self.sources)

    def ledger(self, tenant: TenantId) -> TenantLedger:
        if self.is_down:
            raise LedgerUnavailable("not yet")
        return TenantLedger(tenant, self.sources[tenant], lambda: None)

    def forward_path(self, tenant: TenantId) -> Path:
        directory = self.path / str(tenant)
        directory.mkdir(exist_ok=True)
        return directory / "forward.db"


@asynccontextmanager
async def running(tenants: Tenants, *destinations: AnyDestination) -> AsyncIterator[Forwarder]:
    tools = Tools(SystemClock(), random.Random(1).random, POOL)
    forwarder = Forwarder(tenants, destinations, tools)
    task = asyncio.get_running_loop().create_task(forwarder.run())
    try:
        yield forwarder
    finally:
        task.cancel()
        await asyncio.wait([task])


def cursor(tenants: Tenants, name: str) -> Place | None:
    with suppress(LedgerUnavailable), ForwardReader(tenants.forward_path(TENANT)) as reader:
        return {one.name: one.cursor for one in reader.statuses()}.get(name)
    return None  # the file is only being made


def ids_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["event_id"] for line in lines]


async def lines(path: Path, count: int) -> list[str]:
    """The event ids in a file, once there are so many."""
    await eventually(lambda: len(ids_in(path)) >= count)
    return ids_in(path)


def to_file(path: Path, name: str = "file", **changes: object) -> AnyDestination:
    return a_file(path, **({"name": name, "patience": QUICK, "batch": AT_ONCE} | changes))


async def test_every_tenant_goes_to_every_destination(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT, OTHER)

    async with running(tenants, to_file(tmp_path / "a"), to_file(tmp_path / "b", "other")) as one:
        first, second = await lines(tmp_path / "a", 6), await lines(tmp_path / "b", 6)
        healths = one.healths()

    assert sorted(first) == sorted(second)
    assert set(healths) == {
        *((TENANT, "file"), (TENANT, "other")),
        *((OTHER, "file"), (OTHER, "other")),
    }
    assert all(health.phase is Phase.RUNNING for health in healths.values())


async def test_a_destination_gets_only_the_tenants_it_names(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT, OTHER)
    destination = to_file(tmp_path / "a", tenants=(str(OTHER),))

    async with running(tenants, destination) as forwarder:
        await lines(tmp_path / "a", 3)
        served = set(forwarder.healths())

    assert served == {(OTHER, "file")}


async def test_a_dead_destination_holds_up_no_other(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT)
    async with HecReceiver() as receiver:
        receiver.script.extend(["hang"] * 50)
        slow = a_hec(tmp_path, url=receiver.url, patience=QUICK)
        started = time.monotonic()
        async with running(tenants, slow, to_file(tmp_path / "a")):
            await lines(tmp_path / "a", 3)
            elapsed_s = time.monotonic() - started

    assert elapsed_s < 1
    assert receiver.events == []


async def test_a_tenant_that_comes_later_is_served_when_its_mark_moves(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT)

    async with running(tenants, to_file(tmp_path / "a")) as forwarder:
        await lines(tmp_path / "a", 3)
        tenants.sources[OTHER] = MemorySource(some_batches(2))
        forwarder.wake(OTHER)
        found = await lines(tmp_path / "a", 5)

    assert len(found) == 5


async def test_known_tenants_are_served_while_they_cannot_be_listed(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT)

    async with running(tenants, to_file(tmp_path / "a")) as forwarder:
        await lines(tmp_path / "a", 3)
        tenants.is_unlisted = True
        forwarder.wake(OTHER)
        tenants.sources[TENANT].batches += some_batches(2, first=4)
        forwarder.wake(TENANT)
        found = await lines(tmp_path / "a", 5)

    assert len(found) == 5


async def test_a_known_tenant_is_woken(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT)
    patience = Patience(poll_wait_s=3600)

    async with running(tenants, to_file(tmp_path / "a", patience=patience)) as forwarder:
        await lines(tmp_path / "a", 3)
        tenants.sources[TENANT].batches += some_batches(2, first=4)
        forwarder.wake(TENANT)
        found = await lines(tmp_path / "a", 5)

    assert len(set(found)) == 5


async def test_new_settings_start_and_stop_what_changed_and_keep_the_cursors(
    tmp_path: Path,
) -> None:
    tenants = Tenants(tmp_path, TENANT)
    kept = to_file(tmp_path / "kept", "kept")

    async with running(tenants, kept, to_file(tmp_path / "old")) as forwarder:
        await eventually(lambda: cursor(tenants, "file") == Place(3))
        forwarder.configure([kept, to_file(tmp_path / "new")])
        tenants.sources[TENANT].batches += some_batches(1, first=4)
        moved = await lines(tmp_path / "new", 1)
        await lines(tmp_path / "kept", 4)
        forwarder.configure([kept])
        await eventually(lambda: len(forwarder.healths()) == 1)

    assert len(moved) == 1
    assert len(ids_in(tmp_path / "old")) == 3
    assert set(forwarder.healths()) == set()


async def test_a_tenant_whose_ledger_cannot_be_opened_yet_is_tried_again(tmp_path: Path) -> None:
    tenants = Tenants(tmp_path, TENANT)
    tenants.is_down = True

    async with running(tenants, to_file(tmp_path / "a")) as forwarder:
        await asyncio.sleep(0.05)
        tenants.is_down = False
        forwarder.configure([to_file(tmp_path / "a")])
        found = await lines(tmp_path / "a", 3)

    assert len(found) == 3
