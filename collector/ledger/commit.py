"""Group commit: everything that waits for a tenant goes into one transaction, and one sync.

A sync costs milliseconds whether it carries one batch or a hundred, so while one runs the next
group gathers behind it. A group spans the batches of one tenant's file, from any number of
agents: many tenants of one batch each cost one sync each, and share the writer threads.

Nothing is said of a batch before the transaction it is in has been synced. When that fails, all of
the group fail, as something to be tried again.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from certs.identity import TenantId
from collector.errors import LedgerBusy, LedgerError
from collector.ledger.ports import Ledger, Outcome, SealedBatch

T = TypeVar("T")

STOP_WAIT_S_MAX = 10.0


class CommitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much is written together, and how much may wait."""

    # Tenants that can be synced at the same time.
    writers: Annotated[int, Meta(ge=1, le=64)] = 4
    # A larger group would only delay its own receipts.
    group_batches_max: Annotated[int, Meta(ge=1, le=4096)] = 256
    group_bytes_max: Annotated[int, Meta(ge=1)] = 32 * 1024 * 1024
    # One tenant's backlog must leave room for the others'.
    tenant_waiting_bytes_max: Annotated[int, Meta(ge=1)] = 64 * 1024 * 1024
    waiting_bytes_max: Annotated[int, Meta(ge=1)] = 256 * 1024 * 1024


class Entry(Struct, Generic[T], frozen=True):
    """A batch on its way to disk, and what its sender wants back with the answer."""

    ticket: T
    batch: SealedBatch


class Answer(Struct, Generic[T], frozen=True):
    """What became of one group: an outcome for each entry, or one error for all."""

    tenant: TenantId
    entries: Sequence[Entry[T]]
    outcomes: Sequence[Outcome]
    error: LedgerError | None = None


class _Queue(Generic[T]):
    """What waits for one tenant."""

    def __init__(self, tenant: TenantId) -> None:
        self.tenant = tenant
        self.entries: deque[Entry[T]] = deque()
        self.size_bytes = 0
        self.is_scheduled = False

    def take(self, settings: CommitSettings) -> list[Entry[T]]:
        group: list[Entry[T]] = []
        size = 0
        while self.entries and len(group) < settings.group_batches_max:
            size += self.entries[0].batch.size_bytes
            if group and size > settings.group_bytes_max:
                break
            group.append(self.entries.popleft())
        return group


class GroupCommit(Generic[T]):
    """Writer threads over a ledger.

    Args:
        ledger: where the batches go.
        answered: told of every group, on a writer's thread; must be quick and must not raise.
        settings: how much at once.
        failed: told when a writer ended by an error of ours; nothing is written any more.
    """

    def __init__(
        self,
        ledger: Ledger,
        answered: Callable[[Answer[T]], None],
        settings: CommitSettings,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._ledger = ledger
        self._answered = answered
        self._settings = settings
        self._failed = failed
        self._changed = threading.Condition()
        self._queues: dict[TenantId, _Queue[T]] = {}
        self._scheduled: deque[_Queue[T]] = deque()
        self._size_bytes = 0
        self._is_stopping = False
        self._threads: list[threading.Thread] = []

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for their commit, those being written included."""
        return self._size_bytes

    def start(self) -> None:
        """Begin to write."""
        for number in range(self._settings.writers):
            thread = threading.Thread(target=self._write, name=f"ledger-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> bool:
        """Write what waits, then end; return whether all of it was written in time."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(STOP_WAIT_S_MAX / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def has_room(self, tenant: TenantId) -> bool:
        """Return whether another batch of the tenant would be taken now."""
        queue = self._queues.get(tenant)
        settings = self._settings
        return self._size_bytes < settings.waiting_bytes_max and (
            queue is None or queue.size_bytes < settings.tenant_waiting_bytes_max
        )

    def submit(self, tenant: TenantId, entry: Entry[T]) -> None:
        """Put a batch in line; any thread may.

        Raises:
            LedgerBusy: too much waits already, or the writers are stopping.
        """
        with self._changed:
            if self._is_stopping or not self.has_room(tenant):
                raise LedgerBusy("too many batches wait to be written", hint="try again shortly")
            queue = self._queues.get(tenant)
            if queue is None:
                queue = self._queues[tenant] = _Queue(tenant)
            queue.entries.append(entry)
            self._count(queue, entry.batch.size_bytes)
            if not queue.is_scheduled:
                self._schedule(queue)

    def _schedule(self, queue: _Queue[T]) -> None:
        queue.is_scheduled = True
        self._scheduled.append(queue)
        self._changed.notify()

    def _count(self, queue: _Queue[T], size_bytes: int) -> None:
        queue.size_bytes += size_bytes
        self._size_bytes += size_bytes

    def _write(self) -> None:
        try:
            while (queue := self._next()) is not None:
                with self._changed:
                    group = queue.take(self._settings)
                answer = self._commit(queue.tenant, group)
                with self._changed:
                    self._count(queue, -sum(entry.batch.size_bytes for entry in group))
                # Room before the answer, or who waits for room looks too early and not again; the
                # queue's next group after it, or answers would overtake each other.
                self._answered(answer)
                self._finish(queue)
        except BaseException as error:
            self._failed(error)
            raise

    def _next(self) -> _Queue[T] | None:
        """Return a tenant's queue that no other writer is at; None when it is time to end."""
        with self._changed:
            while not self._scheduled:
                if self._is_stopping:
                    return None
                self._changed.wait()
            return self._scheduled.popleft()

    def _commit(self, tenant: TenantId, group: Sequence[Entry[T]]) -> Answer[T]:
        try:
            outcomes = self._ledger.append(tenant, [entry.batch for entry in group])
        except LedgerError as error:
            return Answer(tenant, group, (), error)
        return Answer(tenant, group, outcomes)

    def _finish(self, queue: _Queue[T]) -> None:
        with self._changed:
            queue.is_scheduled = False
            if queue.entries:
                self._schedule(queue)
            else:
                # Kept only while something waits, so that tenants that come and go leave nothing.
                del self._queues[queue.tenant]
