"""What the ends of sockets add to the looks: connections no look has seen, listeners that stopped.

A sporadic end is read when it comes. Where ends come one after the other they are read once a
second, so that a busy host is not woken for each; what waits meanwhile has room in the kernel, and
too much of it is a loss that the kernel reports.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agent.sense.sensors.inetdiag import ALL_STATES
from agent.sense.sensors.sockends import Ended, EndsLost, SocketEnds
from agent.sense.sensors.sockrow import SocketRow
from agent.sense.sensors.socktables import SocketTables
from runtime.clock import NS_PER_S

EVENTS_MAX: Final = 1024
PAUSE_NS: Final = NS_PER_S
TOLD_MAX: Final = 4096

_TIME_WAIT: Final = 6
_LINGER_NS: Final = 70 * NS_PER_S  # TIME_WAIT lasts a minute


class Ends(Struct):
    """What has ended: connections that no look had seen, and listeners that one had."""

    connections: list[SocketRow]
    listeners: list[SocketRow]
    is_lossy: bool = False


class Heard:
    """Listens, and knows what it has told.

    Args:
        ends: the kernel's word; closed by `close`.
    """

    # What is in TIME_WAIT has ended, and its end was told.
    states_of_a_look = ALL_STATES & ~(1 << _TIME_WAIT)

    def __init__(self, ends: SocketEnds) -> None:
        self._ends = ends
        self._told: dict[tuple[object, ...], int] = {}
        self._read_at = -PAUSE_NS
        self._again: int | None = None

    def close(self) -> None:
        """Close it; harmless when repeated."""
        self._ends.close()

    @property
    def is_deaf(self) -> bool:
        """Whether nothing will be heard any more."""
        return self._ends.fileno() < 0

    def descriptors(self, now: int) -> Sequence[int]:
        """Return the one to wait on; none in a pause."""
        is_pause = self._again is not None and now < self._again
        return () if is_pause or self.is_deaf else (self._ends.fileno(),)

    def due(self) -> int | None:
        """Return when a pause is over; None without one."""
        return self._again

    def take(self, tables: SocketTables, now: int) -> Ends:
        """Return what has ended; nothing in a pause.

        Args:
            tables: what the looks have seen.
            now: boot-clock nanoseconds.
        """
        found = Ends([], [])
        if self._again is not None and now < self._again:
            return found
        events = self._ends.receive(EVENTS_MAX)
        for event in events:
            if isinstance(event, EndsLost):
                found.is_lossy = True
            else:
                self._sort(event, tables, found, now)
        was_recent = now - self._read_at < PAUSE_NS
        if len(events) == EVENTS_MAX:
            self._again = now
        else:
            self._again = now + PAUSE_NS if events and was_recent else None
        if events:
            self._read_at = now
        return found

    def has_told(self, row: SocketRow) -> bool:
        """Whether a socket in a table is what lingers of one whose end was told."""
        return row.inode == 0 and _ends_of(row) in self._told

    def _sort(self, ended: Ended, tables: SocketTables, found: Ends, now: int) -> None:
        listener = tables.take_listener(ended.protocol, ended.key)
        if listener is not None:
            found.listeners.append(listener)
        elif _is_connection(ended.row) and not tables.knows(ended.protocol, ended.key):
            found.connections.append(ended.row)
            self._remember(ended.row, now)

    def _remember(self, row: SocketRow, now: int) -> None:
        told = self._told
        told[_ends_of(row)] = now + _LINGER_NS
        while told and (len(told) > TOLD_MAX or next(iter(told.values())) < now):
            del told[next(iter(told))]


def _is_connection(row: SocketRow) -> bool:
    """Whether there was another end: neither a listener nor one that was never connected."""
    return bool(row.endpoint.local_port and row.endpoint.remote_port)


def _ends_of(row: SocketRow) -> tuple[object, ...]:
    end = row.endpoint
    return end.protocol, end.local_address, end.local_port, end.remote_address, end.remote_port
