"""Open batches: records that wait for their seal, one batch a priority."""

from collections.abc import Mapping

from msgspec import Struct

from proto.model import RAW_BYTES_MAX, RECORDS_MAX, Priority
from runtime.clock import NS_PER_MS, NS_PER_S

# Room in a body for the seed and the framing of each record.
_OVERHEAD_BYTES = 8


class SealingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a record may wait for its seal."""

    # Someone may be acting on it.
    high_wait_ms_max: int = 200
    medium_wait_ms_max: int = 2_000
    # Telemetry can wait for company: fewer syncs on an idle disk.
    low_wait_ms_max: int = 30_000
    # Nobody is listening, so waiting costs nothing.
    low_wait_offline_ms_max: int = 60_000
    # An empty batch at least this often, so that silence means something.
    heartbeat_s: int = 300


class OpenBatch:
    """Records of one priority, bounded by what a body may hold."""

    def __init__(self, priority: Priority) -> None:
        self.priority = priority
        self.records: list[bytes] = []
        self.raw_bytes = 0
        self.first_time = 0
        self.last_time = 0
        self.opened_at = 0

    def fits(self, record: bytes) -> bool:
        """Return whether one more record of this size may be added."""
        if not self.records:
            return True
        size = self.raw_bytes + len(record) + _OVERHEAD_BYTES
        return len(self.records) < RECORDS_MAX and size <= RAW_BYTES_MAX - 64

    def add(self, record: bytes, event_time: int, now: int) -> None:
        """Add a record that `fits`.

        Args:
            record: its exact bytes.
            event_time: nanoseconds UTC, for the header's bounds.
            now: boot-clock nanoseconds.
        """
        if not self.records:
            self.first_time = self.last_time = event_time
            self.opened_at = now
        self.first_time = min(self.first_time, event_time)
        self.last_time = max(self.last_time, event_time)
        self.records.append(record)
        self.raw_bytes += len(record) + _OVERHEAD_BYTES


class OpenBatches:
    """The open batches of all priorities, and when the first of them is due.

    Everything open is sealed together: a commit then covers every record read so far, so the
    cursors stored with it can never be ahead of, or behind, what was kept.
    """

    def __init__(self, settings: SealingSettings) -> None:
        self._settings = settings
        self._full: list[OpenBatch] = []
        self._open = {priority: OpenBatch(priority) for priority in _PRIORITIES}
        self.is_online = True

    @property
    def records(self) -> int:
        """How many records wait."""
        return sum(len(batch.records) for batch in self._all())

    @property
    def raw_bytes(self) -> int:
        """How many bytes wait."""
        return sum(batch.raw_bytes for batch in self._all())

    def add(self, priority: Priority, record: bytes, event_time: int, now: int) -> None:
        """Add a record; a batch that is full makes the whole set due."""
        batch = self._open[priority]
        if not batch.fits(record):
            self._full.append(batch)
            batch = self._open[priority] = OpenBatch(priority)
        batch.add(record, event_time, now)

    def due(self) -> int | None:
        """Return the boot-clock time by which to seal, or None while nothing waits."""
        if self._full:
            return 0
        waits = self._waits_ns()
        return min(
            (b.opened_at + waits[b.priority] for b in self._open.values() if b.records),
            default=None,
        )

    def take(self) -> list[OpenBatch]:
        """Return everything that waits, most urgent first, and begin anew."""
        taken = [batch for batch in self._all() if batch.records]
        taken.sort(key=lambda batch: _PRIORITIES.index(batch.priority))
        self._full = []
        self._open = {priority: OpenBatch(priority) for priority in _PRIORITIES}
        return taken

    def _all(self) -> list[OpenBatch]:
        return [*self._full, *self._open.values()]

    def _waits_ns(self) -> Mapping[Priority, int]:
        s = self._settings
        low = s.low_wait_ms_max if self.is_online else s.low_wait_offline_ms_max
        return {
            Priority.HIGH: s.high_wait_ms_max * NS_PER_MS,
            Priority.MEDIUM: s.medium_wait_ms_max * NS_PER_MS,
            Priority.LOW: low * NS_PER_MS,
        }

    def heartbeat_due(self, last_sealed_at: int) -> int:
        """Return the boot-clock time by which an empty batch is owed."""
        return last_sealed_at + self._settings.heartbeat_s * NS_PER_S


_PRIORITIES = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)
