"""Destinations, events and deliveries for the tests of forwarding."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

from collector.forward.delivery import Delivery, Tools
from collector.forward.event import Checkpoint, Event
from collector.forward.ports import Sink, TenantLedger
from collector.forward.select import event_at
from collector.forward.settings import (
    AnyDestination,
    BatchLimits,
    HecDestination,
    JsonlDestination,
    SyslogDestination,
)
from collector.forward.store import ForwardReader, ForwardStore, Letter, Status
from collector.ports import AdmittedBatch
from proto.model import Record
from runtime.clock import SystemClock
from tests.collector.builders import TENANT, an_admitted_batch
from tests.fakes.clock import FakeClock
from tests.fakes.hec import TOKEN
from tests.fakes.source import MemorySource
from tests.proto.builders import a_finding

S = TypeVar("S", bound=Sink)

POOL = ThreadPoolExecutor(2, thread_name_prefix="forward-test")


def a_hec(path: Path, **changes: object) -> HecDestination:
    token_file = path / "token"
    if not token_file.exists():
        token_file.write_text(f"{TOKEN}\n")
    values: dict[str, object] = {
        "name": "splunk",
        "url": "http://127.0.0.1:8088",
        "token_file": str(token_file),
    }
    return HecDestination(**(values | changes))  # type: ignore[arg-type]


def a_syslog(address: str = "127.0.0.1:6514", **changes: object) -> SyslogDestination:
    return SyslogDestination(**({"name": "syslog", "address": address} | changes))  # type: ignore[arg-type]


def a_file(path: Path, **changes: object) -> JsonlDestination:
    return JsonlDestination(**({"name": "file", "path": str(path)} | changes))  # type: ignore[arg-type]


def some_batches(count: int, findings: int = 1, first: int = 1) -> list[AdmittedBatch]:
    return [
        an_admitted_batch(*[a_finding() for _ in range(findings)], position=position)
        for position in range(first, first + count)
    ]


def an_event(record: Record | None = None, **batch: object) -> Event:
    event = event_at(an_admitted_batch(record or a_finding(), **batch), 0)  # type: ignore[arg-type]
    assert event is not None
    return event


async def eventually(condition: Callable[[], object], wait_s_max: float = 10) -> None:
    """Wait until what another thread, task or process does is done."""
    deadline = time.monotonic() + wait_s_max
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


class Bench(Generic[S]):
    """One delivery over a ledger in memory and a real file of cursors."""

    def __init__(
        self,
        path: Path,
        sink: S,
        destination: AnyDestination | None = None,
        batches: Sequence[AdmittedBatch] = (),
        store: type[ForwardStore] = ForwardStore,
        clock: SystemClock | FakeClock | None = None,
    ) -> None:
        self.path = path / "forward.db"
        self.clock = clock if isinstance(clock, FakeClock) else FakeClock()
        self.now = clock or self.clock
        self.source = MemorySource(batches)
        self.newest: Checkpoint | None = None
        self.sink = sink
        self.destination = destination or a_hec(path, batch=BatchLimits(wait_s_max=0))
        self.store = store(self.path)
        self.delivery = self._delivery()

    def _delivery(self) -> Delivery:
        ledger = TenantLedger(TENANT, self.source, lambda: self.newest)
        tools = Tools(self.now, random.Random(7).random, POOL)
        return Delivery(ledger, self.store, self.destination, self.sink, tools)

    async def turns(self, count: int) -> None:
        """Take turns, resting on the virtual clock as long as each says."""
        for _ in range(count):
            self.clock.forward(await self.delivery.turn())

    async def until_idle(self, turns_max: int = 500) -> None:
        """Take turns until everything in the ledger is behind the cursor."""
        for _ in range(turns_max):
            rest_s = await self.delivery.turn()
            if self.status().cursor.position >= self.source.mark() and rest_s > 0:
                return
            self.clock.forward(rest_s)
            await asyncio.sleep(0)
        raise AssertionError(f"still at {self.status()}")

    def restart(self) -> None:
        """Lose everything that is not in the file, as after kill -9."""
        self.store.close()
        self.store = ForwardStore(self.path)
        self.delivery = self._delivery()

    def status(self) -> Status:
        with ForwardReader(self.path) as reader:
            (status,) = reader.statuses()
        return status

    def letters(self) -> Sequence[Letter]:
        with ForwardReader(self.path) as reader:
            return reader.letters(self.destination.name, 0, 1000)

    def uids(self) -> list[str]:
        """Every event of the ledger, in order."""
        found = []
        for batch in self.source.batches:
            for index in range(len(batch.records)):
                event = event_at(batch, index)
                if event is not None:
                    found.append(event.uid)
        return found
