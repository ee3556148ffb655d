"""A tenant's admitted ledger in memory, for whoever reads below the verified mark."""

from collections.abc import Sequence

from collector.errors import LedgerUnavailable
from collector.ports import AdmittedBatch


class MemorySource:
    """Gives batches in order; may be told to fail."""

    def __init__(self, batches: Sequence[AdmittedBatch] = ()) -> None:
        self.batches = list(batches)
        self.is_down = False
        self.reads = 0

    def read(self, after_position: int, batches_max: int) -> list[AdmittedBatch]:
        self.reads += 1
        if self.is_down:
            raise LedgerUnavailable("the ledger is down")
        later = [batch for batch in self.batches if batch.position > after_position]
        return later[:batches_max]

    def mark(self) -> int:
        if self.is_down:
            raise LedgerUnavailable("the ledger is down")
        return self.batches[-1].position if self.batches else 0
