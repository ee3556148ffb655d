"""All destinations of all tenants: one task each, started and stopped as tenants and settings come.

A destination that is slow or dead holds nothing but its own task: reading and encoding run in
threads of their own, and every wait is that task's alone.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from certs.identity import TenantId
from collector.errors import LedgerError
from collector.forward.delivery import Delivery, Tools
from collector.forward.ports import TenantLedger
from collector.forward.settings import AnyDestination
from collector.forward.sinks.table import build
from collector.forward.store import ForwardStore, Health
from runtime.logs import logger
from runtime.supervise import spawn

# How often to look for new tenants when nobody says there are any.
LOOK_WAIT_S = 5.0

Key = tuple[TenantId, str]


class Ledgers(Protocol):
    """The tenants there are, and where their ledgers and cursors lie."""

    def tenants(self) -> Sequence[TenantId]:
        """Return every tenant that has a ledger.

        Raises:
            OSError: they cannot be listed now.
        """
        ...

    def ledger(self, tenant: TenantId) -> TenantLedger:
        """Return what a tenant has to forward; each delivery asks for one of its own.

        Raises:
            LedgerError: it cannot be opened now.
        """
        ...

    def forward_path(self, tenant: TenantId) -> Path:
        """Return the path of a tenant's forward.db; its directory exists."""
        ...


class _Running:
    """A delivery and the task it runs in."""

    def __init__(
        self, destination: AnyDestination, delivery: Delivery, task: "asyncio.Task[None]"
    ) -> None:
        self.destination = destination
        self.delivery = delivery
        self.task = task


class Forwarder:
    """Keeps one delivery running for each tenant and destination.

    Args:
        ledgers: the tenants.
        destinations: as set, names distinct.
        tools: what deliveries share.
    """

    def __init__(
        self, ledgers: Ledgers, destinations: Sequence[AnyDestination], tools: Tools
    ) -> None:
        self._ledgers = ledgers
        self._destinations = tuple(destinations)
        self._tools = tools
        self._running: dict[Key, _Running] = {}
        self._stores: dict[TenantId, ForwardStore] = {}
        self._seen: frozenset[TenantId] = frozenset()
        self._bell = asyncio.Event()
        self._log = logger(__name__)

    def configure(self, destinations: Sequence[AnyDestination]) -> None:
        """Go on with other settings; destinations that stay as they are notice nothing."""
        self._destinations = tuple(destinations)
        self._bell.set()

    def wake(self, tenant: TenantId) -> None:
        """Say that a tenant's verified mark has moved."""
        if tenant not in self._seen:
            self._bell.set()
        for (owner, _), running in self._running.items():
            if owner == tenant:
                running.delivery.wake()

    def healths(self) -> Mapping[Key, Health]:
        """Return how each delivery is."""
        return {key: running.delivery.health for key, running in self._running.items()}

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._bell.clear()
                    await self._reconcile(group)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_WAIT_S):
                            await self._bell.wait()
        finally:
            for store in self._stores.values():
                store.close()
            self._stores.clear()
            self._running.clear()

    async def _reconcile(self, group: asyncio.TaskGroup) -> None:
        """Stop what is not wanted any more and start what is missing."""
        loop = asyncio.get_running_loop()
        try:
            tenants = await loop.run_in_executor(self._tools.pool, self._ledgers.tenants)
        except OSError as error:
            self._log.error("tenants cannot be listed; going on with those known", error=error)
            return
        self._seen = frozenset(tenants)
        wanted = {
            (tenant, destination.name): destination
            for tenant in tenants
            for destination in self._destinations
            if destination.serves(tenant)
        }
        for key, running in list(self._running.items()):
            if wanted.get(key) != running.destination:
                await self._stop(key)
        for key, destination in wanted.items():
            if key not in self._running:
                await self._start(group, key, destination)

    async def _stop(self, key: Key) -> None:
        running = self._running.pop(key)
        running.task.cancel()
        await asyncio.wait([running.task])
        self._log.info("forwarding stopped", tenant=str(key[0]), destination=key[1])

    async def _start(self, group: asyncio.TaskGroup, key: Key, destination: AnyDestination) -> None:
        tenant, name = key
        try:
            loop = asyncio.get_running_loop()
            ledger = await loop.run_in_executor(self._tools.pool, self._ledgers.ledger, tenant)
            store = await self._store(tenant)
        except LedgerError as error:
            self._log.error("forwarding cannot start yet", tenant=str(tenant), error=error)
            return
        sink = build(destination, self._tools.clock)
        delivery = Delivery(ledger, store, destination, sink, self._tools)
        task = spawn(group, delivery.run(), f"forward {name}")
        self._running[key] = _Running(destination, delivery, task)
        self._log.info("forwarding started", tenant=str(tenant), destination=name)

    async def _store(self, tenant: TenantId) -> ForwardStore:
        if tenant not in self._stores:
            path = self._ledgers.forward_path(tenant)
            loop = asyncio.get_running_loop()
            self._stores[tenant] = await loop.run_in_executor(self._tools.pool, ForwardStore, path)
        return self._stores[tenant]
