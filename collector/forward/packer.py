"""Cuts a stream of encoded events into parcels, by count, bytes and time. Pure."""

from collector.forward.settings import BatchLimits
from collector.forward.window import Item, Parcel

NS_PER_S = 1_000_000_000


class Packer:
    """Holds the events that wait for company.

    Args:
        limits: when a parcel is closed.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._events_max = limits.events_max
        self._size_bytes_max = limits.size_bytes_max
        self._wait_ns = int(limits.wait_s_max * NS_PER_S)
        self._items: list[Item] = []
        self._since = 0
        self.size_bytes = 0

    def __bool__(self) -> bool:
        """Whether any event waits."""
        return bool(self._items)

    def add(self, item: Item, now: int) -> Parcel | None:
        """Take an event in and return the parcel that is full by it, if one is.

        Args:
            item: larger than a whole parcel may be, it travels alone.
            now: monotonic nanoseconds.
        """
        full = None
        if self._items and self.size_bytes + len(item.encoded) > self._size_bytes_max:
            full = self._close()
        if not self._items:
            self._since = now
        self._items.append(item)
        self.size_bytes += len(item.encoded)
        if len(self._items) >= self._events_max:
            # Only one can be full: with a limit of one event none was waiting.
            full = full or self._close()
        return full

    def due_s(self, now: int) -> float | None:
        """Return in how many seconds the waiting events are due; None where there are none."""
        if not self._items:
            return None
        return max(0, self._since + self._wait_ns - now) / NS_PER_S

    def flush(self) -> Parcel | None:
        """Return what waits, full or not."""
        return self._close() if self._items else None

    def oldest_received(self) -> int | None:
        """Return when the collector had the first event that waits."""
        return self._items[0].received if self._items else None

    def _close(self) -> Parcel:
        parcel = Parcel(self._items)
        self._items = []
        self.size_bytes = 0
        return parcel
