"""From the ledger to parcels: read, select, encode, cut. Runs in a worker thread, waits for nobody.

Reading follows the cursor in memory; only `delivery` moves the durable one, behind it.
"""

from collections.abc import Sequence
from typing import Protocol

from collector.forward.errors import SinkRejected
from collector.forward.event import Checkpoint, Event, EventKind, Origin, Place
from collector.forward.packer import Packer
from collector.forward.ports import TenantLedger
from collector.forward.select import checkpoint_event, event_at, select
from collector.forward.settings import AnyDestination
from collector.forward.store import Letter
from collector.forward.window import Item, Parcel, Window
from runtime.clock import NS_PER_S, Clock

BATCHES_PER_READ = 8
# Batches with nothing to forward must not keep a thread for long.
READS_PER_FILL = 16


class Encoder(Protocol):
    """The part of a sink that says an event in its format."""

    def encode(self, event: Event, now: int) -> bytes:
        """Return the event as the destination takes it.

        Raises:
            SinkRejected: it cannot be said in this format.
        """
        ...


class Feed:
    """Fills a window from one tenant's ledger.

    Args:
        ledger: the tenant's.
        destination: its filter and limits.
        encoder: says events in the destination's format.
        clock: for stamps and for how long events wait for company.
    """

    def __init__(
        self, ledger: TenantLedger, destination: AnyDestination, encoder: Encoder, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._filter = destination.filter
        self._window_bytes_max = destination.batch.window_bytes_max
        self._checkpoint_wait_ns = int(destination.checkpoint_wait_s * NS_PER_S)
        self._encoder = encoder
        self._clock = clock
        self._packer = Packer(destination.batch)
        self._log_size = 0
        self._checkpoint_ns = -self._checkpoint_wait_ns
        self._redriving: set[int] = set()
        self.read_to = Place(0)
        self.has_more = False

    def begin(self, cursor: Place, log_size: int) -> None:
        """Start behind a cursor, with the size of the last checkpoint that was sent."""
        self.read_to = cursor
        self._log_size = log_size

    @property
    def is_empty(self) -> bool:
        """Whether everything that was read stands in the window or behind it."""
        return not self._packer

    def due_s(self) -> float | None:
        """Return in how many seconds events that wait for company are due."""
        return self._packer.due_s(self._clock.monotonic_ns())

    def oldest_received(self) -> int | None:
        """Return when the collector had the first event that waits for company."""
        return self._packer.oldest_received()

    def redriven(self, letter: int) -> None:
        """Forget that a letter is on its way."""
        self._redriving.discard(letter)

    def fill(self, window: Window, letters: Sequence[Letter], parcels_max: int) -> None:
        """Read on until the window has enough to send, is full, or the ledger has no more.

        Args:
            window: where parcels go.
            letters: dead letters to send again.
            parcels_max: enough unsent parcels.

        Raises:
            LedgerError: the ledger cannot be read now; the same call may be made again.
        """
        self._again(window, letters)
        self._checkpoint(window)
        self.has_more = False
        for _ in range(READS_PER_FILL):
            if not self._has_room(window) or len(window.unsent(parcels_max)) >= parcels_max:
                break
            batches = self._ledger.source.read(self.read_to.position, BATCHES_PER_READ)
            for batch in batches:
                taken = self.read_to.taken if batch.position == self.read_to.position + 1 else 0
                for event in select(batch, self._filter, taken):
                    self._take(window, event)
                self.read_to = Place(batch.position)
            self.has_more = len(batches) == BATCHES_PER_READ
            if not self.has_more:
                break
        if self.due_s() == 0:
            self._flush(window)

    def _has_room(self, window: Window) -> bool:
        return window.size_bytes + self._packer.size_bytes < self._window_bytes_max

    def _take(self, window: Window, event: Event, letter: int | None = None) -> None:
        try:
            encoded = self._encoder.encode(event, self._clock.wall_ns())
        except SinkRejected as error:
            # Nothing may stand behind a parcel that lets the cursor pass.
            self._flush(window)
            window.add(Parcel([_item(event, b"", letter)], reason=error.message))
            return
        item = _item(event, encoded, letter)
        full = self._packer.add(item, self._clock.monotonic_ns())
        if full is not None:
            window.add(full)

    def _flush(self, window: Window) -> None:
        waiting = self._packer.flush()
        if waiting is not None:
            window.add(waiting)

    def _checkpoint(self, window: Window) -> None:
        now_ns = self._clock.monotonic_ns()
        if (
            EventKind.CHECKPOINT.value not in self._filter.kinds
            or now_ns - self._checkpoint_ns < self._checkpoint_wait_ns
        ):
            return
        newest = self._ledger.checkpoint()
        if newest is not None and newest.size > self._log_size:
            origin = Origin(str(self._ledger.tenant), "", "", newest.at, derived=True)
            self._take(window, checkpoint_event(newest, origin))
            self._log_size = newest.size
            self._checkpoint_ns = now_ns

    def _again(self, window: Window, letters: Sequence[Letter]) -> None:
        for letter in letters:
            if letter.id in self._redriving:
                continue
            self._redriving.add(letter.id)
            event = self._found(letter)
            if event is not None:
                self._take(window, event, letter.id)
                continue
            self._flush(window)
            item = _lost_item(letter)
            window.add(Parcel([item], reason="the ledger no longer holds it"))

    def _found(self, letter: Letter) -> Event | None:
        if not letter.position:
            return None
        batches = self._ledger.source.read(letter.position - 1, 1)
        if not batches or batches[0].position != letter.position:
            return None
        return event_at(batches[0], letter.index)


def _item(event: Event, encoded: bytes, letter: int | None) -> Item:
    return Item(
        uid=event.uid,
        kind=event.kind,
        position=event.position,
        index=event.index,
        through=event.through if letter is None else None,
        received=event.origin.received,
        encoded=encoded,
        letter=letter,
        log_size=event.subject.size if isinstance(event.subject, Checkpoint) else 0,
    )


def _lost_item(letter: Letter) -> Item:
    return Item(
        uid=letter.uid,
        kind=letter.kind,
        position=letter.position,
        index=letter.index,
        through=None,
        received=letter.at,
        encoded=letter.encoded,
        letter=letter.id,
    )
