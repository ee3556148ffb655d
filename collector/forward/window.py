"""The payloads between the ledger and the cursor, in ledger order. Pure.

The cursor passes a payload only when it and every one before it is settled.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from collector.forward.event import EventKind, Place
from collector.forward.states import SETTLED, State


class Item(Struct, frozen=True):
    """One encoded event.

    Args:
        uid: of the event.
        kind: of the event.
        position: of its batch in the ledger, where it can be found again; 0 for no record.
        index: of its record in the batch.
        through: the cursor once it and all before it are settled; None for what has no part in it.
        received: when the collector had it, nanoseconds UTC.
        encoded: as the destination takes it; empty where that could not be said.
        letter: the dead letter that is sent again; None for an event from the ledger.
        log_size: of the checkpoint it carries, else 0.
    """

    uid: str
    kind: EventKind
    position: int
    index: int
    through: Place | None
    received: int
    encoded: bytes
    letter: int | None = None
    log_size: int = 0


class Parcel:
    """Events that travel in one payload.

    Args:
        items: at least one.
        reason: set where they will never be sent.
    """

    __slots__ = ("items", "reason", "sends", "size_bytes", "state", "token")

    def __init__(self, items: Sequence[Item], *, reason: str = "") -> None:
        self.items = tuple(items)
        self.size_bytes = sum(len(item.encoded) for item in items)
        self.state = State.DEAD if reason else State.QUEUED
        self.token: int | None = None
        self.reason = reason
        self.sends = 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be known or done about it."""
        return self.state in SETTLED and self.token is None

    def moved(self, state: State, token: int | None = None) -> None:
        """Note how far it came; with a token, more will be known later."""
        self.state = state
        self.token = token

    def split(self, index: int | None) -> "list[Parcel]":
        """Return its events in smaller parcels, to find the bad one.

        Args:
            index: the suspect, which then travels alone; None for two halves.
        """
        if index is None or not 0 <= index < len(self.items):
            middle = len(self.items) // 2
            parts = [self.items[:middle], self.items[middle:]]
        else:
            parts = [self.items[:index], self.items[index : index + 1], self.items[index + 1 :]]
        return [Parcel(part) for part in parts if part]


class Window:
    """Parcels in ledger order, from the first that is not settled."""

    def __init__(self) -> None:
        self._parcels: deque[Parcel] = deque()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._parcels)

    def add(self, parcel: Parcel) -> None:
        """Take a parcel in behind the others."""
        self._parcels.append(parcel)
        self.size_bytes += parcel.size_bytes

    def unsent(self, count_max: int) -> list[Parcel]:
        """Return the first parcels that wait to be sent."""
        found: list[Parcel] = []
        for parcel in self._parcels:
            if len(found) == count_max:
                break
            if parcel.state is State.QUEUED:
                found.append(parcel)
        return found

    def open(self) -> dict[int, Parcel]:
        """Return the parcels whose fate is still to be asked for, by token."""
        return {parcel.token: parcel for parcel in self._parcels if parcel.token is not None}

    def dead(self) -> int:
        """Return how many events in it are set aside for the first time."""
        return sum(
            item.letter is None
            for parcel in self._parcels
            if parcel.state is State.DEAD
            for item in parcel.items
        )

    def replace(self, parcel: Parcel, parts: Iterable[Parcel]) -> None:
        """Put smaller parcels in a parcel's place."""
        place = self._parcels.index(parcel)
        del self._parcels[place]
        for part in reversed(list(parts)):
            self._parcels.insert(place, part)

    def requeue_open(self) -> int:
        """Queue again every parcel whose fate can no longer be asked for; return how many."""
        lost = self.open().values()
        for parcel in lost:
            parcel.moved(State.QUEUED)
        return len(lost)

    def take_settled(self) -> list[Parcel]:
        """Remove and return the settled parcels before the first that is not."""
        taken = []
        while self._parcels and self._parcels[0].is_settled:
            parcel = self._parcels.popleft()
            self.size_bytes -= parcel.size_bytes
            taken.append(parcel)
        return taken

    def oldest_received(self) -> int | None:
        """Return when the collector had the first event that is not settled."""
        return self._parcels[0].items[0].received if self._parcels else None
