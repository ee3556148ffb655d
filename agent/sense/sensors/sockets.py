"""Sockets: who listens on this host, who has stopped to, and whom it speaks with.

Source: sock_diag over netlink (rung ``inetdiag``), else ``/proc/<pid>/net`` (rung ``procnet``),
read in full every few seconds and compared; between two looks the kernel's own word of each socket
it destroys (rung ``destroy-events``), where it gives it. Privilege: none for either; CAP_SYS_PTRACE
to name the processes of others, CAP_NET_ADMIN at the start for room for bursts. Cost: 15 ms of CPU
a look at 8,000 sockets, as much again to search for holders, which is done only when a socket is
new; 15 us for each ended one. Where looks cost more, only listeners are looked at in between.
Misses: the process of a connection that began and ended between two looks; without
``destroy-events`` such a connection itself, unless this host closed it, for then it lingers in
TIME_WAIT for a minute; other network namespaces.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct, structs

from agent.hostroot import HostFileError, HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.inetdiag import ALL_STATES
from agent.sense.sensors.losses import KINDS_MAX, Losses
from agent.sense.sensors.namespaces import (
    may_look_into_others,
    sees_host_network,
    sees_host_processes,
)
from agent.sense.sensors.sockends import DESTROY_EVENTS, EndsRefused, SocketEnds
from agent.sense.sensors.sockheard import Heard
from agent.sense.sensors.socklook import SocketLook
from agent.sense.sensors.sockowners import Holders
from agent.sense.sensors.sockrow import SocketRow
from agent.sense.sensors.socktables import SocketTables, TableLimits
from agent.sense.sensors.socktell import SocketTeller
from proto.model import Endpoint, HealthState, Observation, Precision, Process, Source
from runtime.clock import NS_PER_S, Clock

NAME: Final = "sockets"
TOLD_MAX: Final = POLL_SIGHTINGS_MAX - KINDS_MAX
ARGV_BYTES_MAX: Final = 4096
SNAPSHOT_MAX: Final = 1_000_000

# Full looks take one part of a core in so many; listeners are looked at on each tick. What a look
# costs is told by the number of sockets: the clock of a busy host would tell of its load instead.
FULL_LOOK_SHARE: Final = 500
LOOK_NS_A_SOCKET: Final = 2000
FULL_LOOK_S_MAX: Final = 60

SPEC: Final = SensorSpec(
    name=NAME,
    source=(
        "sock_diag over netlink, /proc/<pid>/net where that is refused; the kernel's word of each"
        " socket it destroys"
    ),
    coverage=(
        "TCP and UDP sockets open at a look, listeners that ended since, and (destroy-events) each"
        " connection that began and ended in between"
    ),
    misses=(
        "the process of a connection that began and ended between two looks; without destroy-events"
        " such a connection itself, unless this host closed it within the minute; a listener that"
        " came and went between two looks; other network namespaces; half-open connections"
    ),
    privilege=(
        "none; CAP_SYS_PTRACE to name the processes of other users; CAP_NET_ADMIN at the start for"
        " room for more than some 100 ended sockets a second"
    ),
    cost=(
        "15 ms of CPU a look at 8,000 sockets; holders are searched only for new sockets; 15 us for"
        " each ended one"
    ),
)

_COVERAGE: Final = "sockets open at a look every {} s; TCP this host closed lingers one minute"
_HEARD: Final = "sockets open at a look every {} s; connections that ended in between, no process"
_NO_OTHERS: Final = "processes of other users cannot be named"
_PRIVATE: Final = "private network namespace: the host's sockets are read through process 1"
_PRIVATE_PIDS: Final = (
    "private pid namespace: processes of the host are not named, and its sockets may not be seen"
)
_OMITTED: Final = "sockets beyond the limit"
_OVERFLOWN: Final = "more sockets ended at once than the kernel keeps to tell"


class SocketSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the socket sensor."""

    # Shorter sees more short connections and wakes an idle host more often.
    interval_s: Annotated[int, Meta(ge=1, le=3600)] = 10
    # Sockets followed in each of the four tables; about 130 bytes each.
    sockets_max: Annotated[int, Meta(ge=256, le=4_000_000)] = 65_536
    # New sockets told of each table at one look; the next look follows at once for the rest.
    new_sockets_max: Annotated[int, Meta(ge=16, le=65_536)] = 2048
    # Room for ended sockets the kernel has told of and nobody has read; about 1,200 bytes each.
    ended_buffer_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 4_194_304


class _View(Struct, frozen=True):
    """What is open, and what narrows it."""

    reader: ProcessReader
    tables: SocketTables
    limits: tuple[str, ...]
    heard: Heard | None


class SocketSensor:
    """See the module."""

    spec = SPEC

    def __init__(self, settings: SocketSettings, host: HostRoot, clock: Clock) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._losses = Losses(NAME, clock)
        self._holders = Holders()
        self._view: _View | None = None
        self._look: SocketLook | None = None
        self._ready: deque[Observation] = deque()
        coverage = _COVERAGE.format(settings.interval_s)
        self._teller = SocketTeller(clock, Source(NAME, "none", coverage))
        self._look_at = 0
        self._full_at = 0
        self._full_every_s = settings.interval_s
        self._blind = ""
        self._last_success = 0

    def start(self, cursor: bytes) -> None:  # noqa: ARG002  (a table cannot be read again)
        """Open /proc and the kernel's word of ended sockets; the first look is due at once."""
        self._losses.nothing_lost_until_now()
        try:
            self._view = self._opened()
        except HostFileError as error:
            self._blind = str(error)
        self._look_at = self._full_at = self._clock.boot_ns()

    def descriptors(self) -> Sequence[int]:
        """Return the one that tells of ended sockets; a table gives no sign."""
        heard = self._view.heard if self._view else None
        return heard.descriptors(self._clock.boot_ns()) if heard else ()

    def due(self) -> int | None:
        """Return now while there is work, else the next look, at a multiple of the interval."""
        if self._view is None:
            return None
        if self._look is not None or self._ready:
            return self._clock.boot_ns()
        again = self._view.heard.due() if self._view.heard else None
        return self._look_at if again is None else min(again, self._look_at)

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return the sockets that are new since the last look, and those that have ended."""
        if self._view is None:
            return []
        if not self._ready:
            self._listen(self._view)
        self._begin(self._view)
        told: list[Sighting] = []
        while len(told) < TOLD_MAX:
            if self._ready:
                told.append(self._ready.popleft())
            elif self._look is not None:
                self._advance(self._view, self._look)
            else:
                break
            if self._clock.boot_ns() >= deadline:
                break
        return [*self._losses.take(), *told]

    def cursor(self) -> bytes:
        """Return nothing: a table cannot be read again."""
        return b""

    def health(self) -> SensorHealth:
        """Return the rung, and what narrows the view."""
        view = self._view
        limits = [*view.limits, *view.tables.problems] if view else []
        state = HealthState.DEGRADED if limits else HealthState.OK
        if view is None or view.tables.is_blind:
            state = HealthState.BLIND
        return SensorHealth(
            state=state,
            rung=self._teller.source.rung,
            reason="; ".join(limits) if view else self._blind or "not started",
            last_success=self._last_success,
            dropped=self._losses.total,
        )

    def stop(self) -> None:
        """Close everything; harmless when repeated or never started."""
        self._look = None
        self._ready.clear()
        if self._view is not None:
            self._view.reader.close()
            if self._view.heard is not None:
                self._view.heard.close()
            self._view = None

    def _opened(self) -> _View:
        settings = self._settings
        reader = ProcessReader(self._host, self._clock, argv_bytes_max=ARGV_BYTES_MAX)
        reader.is_foreign = not sees_host_processes(self._host, reader.proc)
        is_host_network = sees_host_network(self._host)
        limits = []
        if not is_host_network:
            limits.append(_PRIVATE)
        if reader.is_foreign:
            limits.append(_PRIVATE_PIDS)
        elif not may_look_into_others(self._host):
            limits.append(_NO_OTHERS)
        tables = SocketTables(
            self._host,
            TableLimits(sockets_max=settings.sockets_max, new_max=settings.new_sockets_max),
            is_host_network=is_host_network,
        )
        # The ends of another network's sockets would say nothing of the host's.
        heard = _heard(settings.ended_buffer_bytes) if is_host_network else None
        return _View(reader=reader, tables=tables, limits=tuple(limits), heard=heard)

    def _listen(self, view: _View) -> None:
        """Take in what has ended; after a loss the next look is due at once, and takes in all."""
        if view.heard is None:
            return
        heard = view.heard.take(view.tables, self._clock.boot_ns())
        self._ready.extend(self._teller.gone(row, Precision.SECOND) for row in heard.listeners)
        self._ready.extend(map(self._teller.unheld, heard.connections))
        if view.heard.is_deaf:
            self._view = structs.replace(view, heard=None)
        if heard.is_lossy:
            self._losses.gap(_OVERFLOWN)
            view.tables.states = ALL_STATES
            self._look_at = self._full_at = self._clock.boot_ns()

    def _begin(self, view: _View) -> None:
        """Begin the look that is due, unless one is going on or not all of one has been told."""
        now = self._clock.boot_ns()
        if now < self._look_at or self._look is not None or self._ready:
            return
        self._look_at = self._next_tick(now)
        only_listening = now < self._full_at
        self._look = SocketLook(
            view.tables, view.reader, self._holders, only_listening=only_listening
        )

    def _next_tick(self, now: int) -> int:
        interval = self._settings.interval_s * NS_PER_S
        return (now // interval + 1) * interval

    def _advance(self, view: _View, look: SocketLook) -> None:
        rows = look.step()
        if rows is not None:
            self._look = None
            self._finish(view, look, rows)

    def _finish(
        self, view: _View, look: SocketLook, rows: list[tuple[SocketRow, Process | None]]
    ) -> None:
        tables, now = view.tables, self._clock.boot_ns()
        if not look.only_listening:
            interval = self._settings.interval_s
            cost_ns = tables.known * LOOK_NS_A_SOCKET
            wait_s = min(cost_ns * FULL_LOOK_SHARE // NS_PER_S, FULL_LOOK_S_MAX)
            self._full_every_s = max(interval, wait_s)
            # The next tick but for a wait that reaches beyond it.
            self._full_at = now + (wait_s - interval) * NS_PER_S
            if view.heard is not None and not tables.has_more:
                tables.states = view.heard.states_of_a_look
        self._describe(view)
        self._teller.listening = frozenset(tables.listening_ports)
        self._ready.extend(self._teller.gone(row, Precision.POLL) for row in tables.take_gone())
        self._ready.extend(
            self._teller.seen(row, process)
            for row, process in rows
            if view.heard is None or not view.heard.has_told(row)
        )
        self._losses.overflow(_OMITTED, tables.take_omitted())
        self._losses.nothing_lost_until_now()
        if tables.has_more:
            tables.has_more = False
            self._look_at = self._full_at = now
        if not tables.is_blind:
            self._last_success = self._clock.wall_ns()

    def _describe(self, view: _View) -> None:
        """Say where what follows comes from."""
        rung, coverage = view.tables.rung, _COVERAGE
        if view.heard is not None:
            rung, coverage = f"{rung}+{DESTROY_EVENTS}", _HEARD
        coverage = coverage.format(self._full_every_s)
        self._teller.source = Source(NAME, rung, coverage)


def _heard(receive_buffer_bytes: int) -> Heard | None:
    try:
        return Heard(SocketEnds(receive_buffer_bytes))
    except EndsRefused:
        return None


def snapshot(host: HostRoot, clock: Clock) -> Iterator[tuple[Endpoint, bool, Process | None]]:
    """Yield the sockets that are there now: ends, whether it listens, and the process if known.

    Raises:
        HostFileError: the host has no /proc where we look.
    """
    reader = ProcessReader(host, clock, argv_bytes_max=ARGV_BYTES_MAX)
    try:
        reader.is_foreign = not sees_host_processes(host, reader.proc)
        limits = TableLimits(sockets_max=SNAPSHOT_MAX, new_max=SNAPSHOT_MAX)
        is_host_network = sees_host_network(host)
        tables = SocketTables(host, limits, is_host_network=is_host_network)
        look = SocketLook(tables, reader, Holders())
        while (rows := look.step()) is None:
            pass
        for row, process in rows:
            yield row.endpoint, row.is_listening, process
    finally:
        reader.close()
