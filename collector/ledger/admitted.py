"""What lies below the verified mark, as every projection and every sink reads it.

The batches that admit has just opened are kept for those who follow closely, so that they are
decoded once; who lags opens them anew from the ledger. What admit said of a batch, trusted or not,
is read from the log: the same batch is the same value whenever it is read.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct

from certs.identity import TenantId
from collector.errors import AdmitRefused, LedgerCorrupt
from collector.ledger.admit import admitted, open_batch
from collector.ledger.log import ADMITTED, TRUSTED, LogReader
from collector.ledger.reader import LedgerReader
from collector.ports import AdmittedBatch

# Decoded records take about ten times their bytes; this is some 64 MiB.
CACHED_RECORDS_MAX = 16_384
READ_BYTES_MAX = 8 * 1024 * 1024


class Chunk(Struct, frozen=True):
    """Batches in ledger order, and how far reading came: refused ones are passed over."""

    batches: tuple[AdmittedBatch, ...]
    upto: int


class AdmittedCache:
    """The newest admitted batches of one tenant; any thread may use it.

    Args:
        records_max: how many records are kept; the oldest batches go first.
    """

    def __init__(self, records_max: int = CACHED_RECORDS_MAX) -> None:
        self._records_max = records_max
        self._batches: OrderedDict[int, AdmittedBatch] = OrderedDict()
        self._records = 0
        self._lock = threading.Lock()

    def put(self, batch: AdmittedBatch) -> None:
        """Keep a batch for a while."""
        with self._lock:
            old = self._batches.pop(batch.position, None)
            self._records += _weight(batch) - (_weight(old) if old else 0)
            self._batches[batch.position] = batch
            while self._records > self._records_max and len(self._batches) > 1:
                self._records -= _weight(self._batches.popitem(last=False)[1])

    def get(self, position: int) -> AdmittedBatch | None:
        """Return a batch that is still kept."""
        with self._lock:
            return self._batches.get(position)


class AdmittedReader:
    """Reads one tenant's admitted batches; any thread may.

    Args:
        tenant: whose.
        ledger: reads the sealed batches.
        log: says what admit said of them.
        cache: shared with the admitter where that runs in this process.
    """

    def __init__(
        self,
        tenant: TenantId,
        ledger: LedgerReader,
        log: LogReader,
        cache: AdmittedCache | None = None,
    ) -> None:
        self._tenant = tenant
        self._ledger = ledger
        self._log = log
        self._cache = cache or AdmittedCache(0)

    def mark(self) -> int:
        """Return the verified mark: nothing above it is read.

        Raises:
            LedgerUnavailable: it cannot be read now.
            LedgerCorrupt: the file is damaged.
        """
        return self._log.mark()

    def chunk(self, after: int, positions_max: int) -> Chunk:
        """Return batches behind a position, and the cursor to go on from.

        Args:
            after: a cursor; 0 for the beginning.
            positions_max: how many positions to look at, at most.

        Returns:
            The same cursor where there is nothing new.

        Raises:
            LedgerUnavailable: they cannot be read now.
            LedgerCorrupt: a file is damaged, or a batch that was admitted cannot be opened any
                more.
        """
        found: list[AdmittedBatch] = []
        upto, size = after, 0
        for position, outcome in self._log.outcomes(after, positions_max):
            if outcome & ADMITTED:
                batch = self._one(position, is_trusted=bool(outcome & TRUSTED))
                found.append(batch)
                size += batch.header.raw_bytes
            upto = position
            if size >= READ_BYTES_MAX:
                break
        return Chunk(tuple(found), upto)

    def read(self, after: int, batches_max: int) -> Sequence[AdmittedBatch]:
        """Return the next batches behind a position; refused ones are passed over.

        Raises:
            LedgerUnavailable: they cannot be read now.
            LedgerCorrupt: a file is damaged, or a batch that was admitted cannot be opened any
                more.
        """
        found: list[AdmittedBatch] = []
        while len(found) < batches_max:
            chunk = self.chunk(after, batches_max - len(found))
            if chunk.upto == after:
                break
            found.extend(chunk.batches)
            after = chunk.upto
        return found

    def received_after(self, position: int) -> int | None:
        """Return when the first batch behind a position, below the mark, was received.

        Raises:
            LedgerUnavailable: it cannot be read now.
            LedgerCorrupt: the file is damaged.
        """
        if position >= self._log.mark():
            return None
        return self._ledger.received_after(position)

    def _one(self, position: int, *, is_trusted: bool) -> AdmittedBatch:
        cached = self._cache.get(position)
        if cached is not None:
            return cached
        stored = self._ledger.at(position)
        if stored is None:
            raise LedgerCorrupt(f"batch {position} was admitted and is gone")
        try:
            opened = open_batch(stored)
        except AdmitRefused as error:
            raise LedgerCorrupt(
                f"batch {position} was admitted and has changed: {error.message}",
                hint="restore the ledger from a backup; keep the file",
            ) from error
        derived = self._ledger.is_own(opened.header.agent)
        return admitted(self._tenant, stored, opened, trusted=is_trusted, derived=derived)


def _weight(batch: AdmittedBatch) -> int:
    return len(batch.records) + 1
