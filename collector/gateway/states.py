"""How each tenant's ledger stands, for receipts: known without asking a disk.

A ledger's generation never changes while the process runs. The size of its log does; receipts say
what it was at most a second ago.
"""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Final

from certs.identity import TenantId
from collector.errors import LedgerError
from collector.ledger.files import TenantFiles
from collector.ledger.log import LogReader
from collector.ledger.ports import Ledger
from collector.ledger.receipts import LedgerState

REFRESH_S: Final = 1.0


class LedgerStates:
    """The states of the tenants that have connected; used on the event loop alone.

    Args:
        ledger: knows generations.
        files: where the logs lie, written by the worker.
    """

    def __init__(self, ledger: Ledger, files: TenantFiles) -> None:
        self._ledger = ledger
        self._files = files
        self._known: dict[TenantId, LedgerState] = {}
        self._logs: dict[TenantId, LogReader] = {}
        self._lock = threading.Lock()

    def __call__(self, tenant: TenantId) -> LedgerState:
        """Return the state of a tenant that ``learn`` was awaited for."""
        return self._known[tenant]

    async def learn(self, tenant: TenantId) -> None:
        """Come to know a tenant before the first receipt is signed for it.

        Raises:
            LedgerUnavailable: its file cannot be opened or made now.
            LedgerCorrupt: it is damaged.
            LedgerForeign: it is another tenant's, or of a newer version.
        """
        if tenant not in self._known:
            generation = await asyncio.to_thread(self._ledger.generation, tenant)
            self._known[tenant] = LedgerState(generation, 0)

    async def log(self, tenant: TenantId) -> LogReader:
        """Return the tenant's log, open for reading.

        Raises:
            LedgerUnavailable: there is none yet, or it cannot be read now.
            LedgerCorrupt: it is damaged.
        """
        return await asyncio.to_thread(self._open, tenant)

    async def refresh(self) -> None:
        """Look once how far the logs have come."""
        sizes = await asyncio.to_thread(self._sizes, tuple(self._known))
        for tenant, size in sizes.items():
            self._known[tenant] = LedgerState(self._known[tenant].generation, size)

    def _sizes(self, tenants: Sequence[TenantId]) -> dict[TenantId, int]:
        sizes = {}
        for tenant in tenants:
            # The worker may not have come to this tenant yet, or its file is in trouble there.
            with contextlib.suppress(LedgerError):
                sizes[tenant] = self._open(tenant).size()
        return sizes

    def _open(self, tenant: TenantId) -> LogReader:
        with self._lock:
            if tenant not in self._logs:
                self._logs[tenant] = LogReader(self._files.log(tenant))
            return self._logs[tenant]

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.refresh()

    def close(self) -> None:
        """Let go of the files."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()
