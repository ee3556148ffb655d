"""What became of events since the last commit: gathered on the loop, written by a thread.

A task that is cancelled does not stop the thread that commits for it. Therefore everything here is
under one lock, and what was written is forgotten by whoever wrote it: a commit that outlives its
task is never counted twice, and the last word of a stop is exact.
"""

import threading
from collections.abc import Iterable

from msgspec import Struct

from collector.forward.event import Place
from collector.forward.states import Phase, State
from collector.forward.store import ForwardStore, Health, Letter, Progress
from collector.forward.window import Parcel, Window
from runtime.clock import NS_PER_S, Clock

# A cursor that moves over batches with nothing to forward is written this often.
IDLE_WAIT_NS = NS_PER_S


class Begun(Struct, frozen=True):
    """What was found when a delivery began.

    Args:
        log_size: of the last checkpoint that was sent.
        was_ahead: the cursor stood beyond the ledger's end.
    """

    log_size: int
    was_ahead: bool


class Account:
    """The durable side of one delivery.

    Args:
        name: of the destination.
        store: the tenant's cursors.
        letters_max: how many events may be set aside.
        clock: for stamps.
    """

    def __init__(self, name: str, store: ForwardStore, letters_max: int, clock: Clock) -> None:
        self._name = name
        self._store = store
        self._letters_max = letters_max
        self._clock = clock
        self._lock = threading.Lock()
        self._progress = Progress()
        self._letters = 0
        self._written = Health(Phase.RUNNING)
        self._written_oldest: int | None = None
        self._written_ns = -IDLE_WAIT_NS
        self.cursor = Place(0)

    def begin(self, start: int, mark: int) -> "Begun":
        """Find the cursor.

        Args:
            start: where a new destination begins: behind this position.
            mark: the verified mark. A cursor beyond it is of a ledger that was restored since.

        Raises:
            LedgerError: the file cannot be written now.
        """
        cursor, log_size = self._store.begin(self._name, start, self._clock.wall_ns())
        with self._lock:
            self.cursor = min(cursor, Place(mark))
            self._letters = self._store.letter_count(self._name)
        return Begun(log_size, was_ahead=self.cursor < cursor)

    def recount_letters(self) -> None:
        """Count the dead letters anew: somebody may have made room.

        Raises:
            LedgerError: the file cannot be read now.
        """
        count = self._store.letter_count(self._name)
        with self._lock:
            self._letters = count

    def has_room_for_letters(self, window: Window) -> bool:
        """Whether another event may be set aside."""
        under_way = len(self._progress.dead) + window.dead()
        return self._letters + under_way < self._letters_max

    def resent(self, events: int) -> None:
        """Note that events were sent again."""
        with self._lock:
            self._progress.resent += events

    def settle(self, parcels: Iterable[Parcel]) -> None:
        """Take in settled parcels, in ledger order."""
        with self._lock:
            for parcel in parcels:
                self._settle(parcel)

    def passed(self, place: Place) -> None:
        """Note that everything up to a place is dealt with."""
        with self._lock:
            if place > self.cursor:
                self.cursor = self._progress.cursor = place

    def is_due(self, health: Health, oldest: int | None) -> bool:
        """Whether there is something to write now; a cursor that moves over nothing can wait."""
        progress = self._progress
        if progress.counts or progress.resent or health != self._written:
            return True
        has_moved = progress.cursor is not None or oldest != self._written_oldest
        return has_moved and self._clock.monotonic_ns() - self._written_ns >= IDLE_WAIT_NS

    def write(self, health: Health, oldest: int | None) -> None:
        """Write everything, durably, and forget it. Called from a worker thread.

        Args:
            health: how the destination is.
            oldest: when the collector had the oldest event under way; None when there is none.

        Raises:
            LedgerError: nothing was written, and nothing is forgotten.
        """
        with self._lock:
            progress = self._progress
            progress.oldest = oldest
            self._store.commit(self._name, progress, health, self._clock.wall_ns())
            new_letters = sum(not letter.id for letter in progress.dead)
            self._letters += new_letters - len(progress.redriven)
            self._progress = Progress()
            self._written, self._written_oldest = health, oldest
            self._written_ns = self._clock.monotonic_ns()

    def _settle(self, parcel: Parcel) -> None:
        progress = self._progress
        counts = progress.counts
        counts[parcel.state] = counts.get(parcel.state, 0) + len(parcel.items)
        for item in parcel.items:
            if item.through is not None:
                self.cursor = progress.cursor = item.through
            progress.log_size = max(progress.log_size, item.log_size)
            if item.letter is not None and parcel.state is not State.DEAD:
                progress.redriven.append(item.letter)
        if parcel.state is State.DEAD:
            progress.dead.append(self._letter(parcel))

    def _letter(self, parcel: Parcel) -> Letter:
        (item,) = parcel.items
        return Letter(
            id=item.letter or 0,
            destination=self._name,
            uid=item.uid,
            kind=item.kind,
            position=item.position,
            index=item.index,
            at=self._clock.wall_ns(),
            reason=parcel.reason,
            encoded=item.encoded,
        )
