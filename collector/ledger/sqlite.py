"""The ledger in SQLite files, one a tenant.

A tenant's file is made by the first batch that comes for it, or the first receipt that has to name
its generation.
"""

import threading
from collections.abc import Callable, Sequence

from certs.identity import AgentId, TenantId
from collector.errors import LedgerUnavailable
from collector.ledger.files import TenantFiles
from collector.ledger.flags import Flag
from collector.ledger.ports import Head, Mark, Outcome, Seal, SealedBatch, Stored
from collector.ledger.reader import LedgerReader
from collector.ledger.store import TenantStore
from runtime.clock import Clock


class SqliteLedger:
    """Implements `Ledger` and `OwnLedger`; threads may share it.

    Every method raises LedgerUnavailable, LedgerCorrupt or LedgerForeign for its tenant's file, as
    the ports say; another tenant's trouble never shows.

    Args:
        files: where the tenants' files lie.
        clock: stamps holes.
        random: n unpredictable bytes.
    """

    def __init__(self, files: TenantFiles, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._files = files
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._writers: dict[TenantId, _Writer] = {}
        self._readers: dict[TenantId, LedgerReader] = {}

    def append(self, tenant: TenantId, batches: Sequence[SealedBatch]) -> Sequence[Outcome]:
        """Keep batches durably, all of them or none (`Ledger.append`)."""
        with self._writer(tenant) as store:
            return store.append(batches, self._clock.wall_ns())

    def append_own(
        self, tenant: TenantId, agent: AgentId, mark: Mark | None, seal: Seal
    ) -> Outcome | None:
        """Seal and keep one batch of the collector's own (`OwnLedger.append_own`)."""
        with self._writer(tenant) as store:
            return store.append_own(agent, mark, seal, self._clock.wall_ns())

    def flag(self, tenant: TenantId, flag: Flag) -> None:
        """Note a break in an agent's history that shows only after its batch came."""
        with self._writer(tenant) as store:
            store.flag(flag)

    def release(self, tenant: TenantId, agent: AgentId) -> int:
        """Trust an agent again, from the next batch on; return how many breaks were in force."""
        with self._writer(tenant) as store:
            return store.release(agent)

    def generation(self, tenant: TenantId) -> bytes:
        """Return the 16 bytes that name this life of the tenant's ledger."""
        with self._writer(tenant) as store:
            return store.generation

    def heads(self, tenant: TenantId, agent: AgentId, count_max: int) -> Sequence[Head]:
        """Return the agent's newest epochs, newest first."""
        return self.reader(tenant).heads(agent, count_max)

    def read(
        self, tenant: TenantId, after: int, batches_max: int, bytes_max: int
    ) -> Sequence[Stored]:
        """Return batches behind a position, in order."""
        return self.reader(tenant).read(after, batches_max, bytes_max)

    def mark(self, tenant: TenantId, name: str) -> Mark:
        """Return how far a source of derived records has been sealed."""
        return self.reader(tenant).mark(name)

    def reader(self, tenant: TenantId) -> LedgerReader:
        """Return the tenant's file open for reading; it is made where there is none."""
        with self._lock:
            found = self._readers.get(tenant)
        if found is not None:
            return found
        self.generation(tenant)
        with self._lock:
            if tenant not in self._readers:
                self._readers[tenant] = LedgerReader(self._files.ledger(tenant))
            return self._readers[tenant]

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            for writer in self._writers.values():
                writer.close()
            for reader in self._readers.values():
                reader.close()
            self._writers.clear()
            self._readers.clear()

    def _writer(self, tenant: TenantId) -> "_Writer":
        with self._lock:
            if tenant not in self._writers:
                self._writers[tenant] = _Writer(self._files, tenant, self._random)
            return self._writers[tenant]


class _Writer:
    """A tenant's store, opened when first needed and used by one thread at a time."""

    def __init__(
        self, files: TenantFiles, tenant: TenantId, random: Callable[[int], bytes]
    ) -> None:
        self._files = files
        self._tenant = tenant
        self._random = random
        self._lock = threading.Lock()
        self._store: TenantStore | None = None

    def __enter__(self) -> TenantStore:
        self._lock.acquire()
        try:
            if self._store is None:
                self._store = self._open()
        except BaseException:
            self._lock.release()
            raise
        return self._store

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _open(self) -> TenantStore:
        try:
            self._files.make(self._tenant)
        except OSError as error:
            raise LedgerUnavailable(
                f"cannot make the directory of tenant {self._tenant}: {error.strerror}"
            ) from error
        return TenantStore(self._files.ledger(self._tenant), self._tenant, self._random)
