"""Sockets: who listens on this host, and whom it speaks with.

Source: sock_diag over netlink (rung ``inetdiag``), else ``/proc/<pid>/net`` (rung ``procnet``),
read in full every few seconds and compared. Privilege: none for the table; CAP_SYS_PTRACE to name
the processes of others. Cost: 15 ms of CPU a look at 8,000 sockets, as much again to search for
holders, which is done only when a socket is new.
Misses: a connection that opens and closes between two looks, unless this host closed it, for then
it lingers in TIME_WAIT for a minute and is told without its process; other network namespaces.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.losses import KINDS_MAX, Losses
from agent.sense.sensors.namespaces import (
    may_look_into_others,
    sees_host_network,
    sees_host_processes,
)
from agent.sense.sensors.socklook import SocketLook
from agent.sense.sensors.sockowners import Holders
from agent.sense.sensors.sockrow import SocketRow
from agent.sense.sensors.socktables import SocketTables, TableLimits
from proto.model import (
    Endpoint,
    Entity,
    HealthState,
    Observation,
    ObservationKind,
    Precision,
    Process,
    Role,
    Source,
)
from runtime.clock import NS_PER_S, Clock

NAME: Final = "sockets"
TOLD_MAX: Final = POLL_SIGHTINGS_MAX - KINDS_MAX
ARGV_BYTES_MAX: Final = 4096
SNAPSHOT_MAX: Final = 1_000_000

SPEC: Final = SensorSpec(
    name=NAME,
    source="sock_diag over netlink; /proc/<pid>/net where that is refused",
    coverage=(
        "TCP and UDP sockets open at a look, and TCP connections this host closed within the minute"
        " before it"
    ),
    misses=(
        "connections that open and close between two looks and were closed by the other side; the"
        " process of a connection already closed; other network namespaces; half-open connections"
    ),
    privilege="none for the table; CAP_SYS_PTRACE to name the processes of other users",
    cost="15 ms of CPU a look at 8,000 sockets; holders are searched only for new sockets",
)

_COVERAGE: Final = "sockets open at a look every {} s; TCP this host closed lingers one minute"
_NO_OTHERS: Final = "processes of other users cannot be named"
_PRIVATE: Final = "private network namespace: the host's sockets are read through process 1"
_PRIVATE_PIDS: Final = (
    "private pid namespace: processes of the host are not named, and its sockets may not be seen"
)
_OMITTED: Final = "sockets beyond the limit"


class SocketSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the socket sensor."""

    # Shorter sees more short connections and wakes an idle host more often.
    interval_s: Annotated[int, Meta(ge=1, le=3600)] = 10
    # Sockets followed in each of the four tables; about 130 bytes each.
    sockets_max: Annotated[int, Meta(ge=256, le=4_000_000)] = 65_536
    # New sockets told of each table at one look; the next look follows at once for the rest.
    new_sockets_max: Annotated[int, Meta(ge=16, le=65_536)] = 2048


class _View(Struct, frozen=True):
    """What is open, and what narrows it."""

    reader: ProcessReader
    tables: SocketTables
    limits: tuple[str, ...]


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
        self._ready: deque[tuple[SocketRow, Process | None]] = deque()
        self._source = Source(NAME, "none", _COVERAGE.format(settings.interval_s))
        self._look_at = 0
        self._blind = ""
        self._last_success = 0

    def start(self, cursor: bytes) -> None:  # noqa: ARG002  (a table cannot be read again)
        """Open /proc; the first look is due at once."""
        self._losses.nothing_lost_until_now()
        try:
            self._view = self._opened()
        except HostFileError as error:
            self._blind = str(error)
        self._look_at = self._clock.boot_ns()

    def descriptors(self) -> Sequence[int]:
        """Return nothing: a table gives no sign."""
        return ()

    def due(self) -> int | None:
        """Return now while there is work, else the next look, at a multiple of the interval."""
        if self._view is None:
            return None
        working = self._look is not None or self._ready
        return self._clock.boot_ns() if working else self._look_at

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return the sockets that are new since the last look."""
        told: list[Sighting] = []
        if self._view is None:
            return told
        self._begin(self._view)
        while len(told) < TOLD_MAX:
            if self._ready:
                told.append(self._observation(*self._ready.popleft()))
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
            rung=self._source.rung,
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
        return _View(reader=reader, tables=tables, limits=tuple(limits))

    def _begin(self, view: _View) -> None:
        """Begin the look that is due, unless one is going on or not all of one has been told."""
        now = self._clock.boot_ns()
        if now < self._look_at or self._look is not None or self._ready:
            return
        interval = self._settings.interval_s * NS_PER_S
        self._look_at = (now // interval + 1) * interval
        self._look = SocketLook(view.tables, view.reader, self._holders)

    def _advance(self, view: _View, look: SocketLook) -> None:
        rows = look.step()
        if rows is None:
            return
        self._look = None
        self._ready.extend(rows)
        self._losses.overflow(_OMITTED, view.tables.take_omitted())
        self._losses.nothing_lost_until_now()
        if view.tables.has_more:
            view.tables.has_more = False
            self._look_at = self._clock.boot_ns()
        self._source = Source(NAME, view.tables.rung, self._source.coverage)
        if not view.tables.is_blind:
            self._last_success = self._clock.wall_ns()

    def _observation(self, row: SocketRow, process: Process | None) -> Observation:
        now = self._clock.wall_ns()
        listen = row.is_listening
        return Observation(
            kind=ObservationKind.SOCKET_LISTEN if listen else ObservationKind.SOCKET_OPEN,
            source=self._source,
            event_time=now,
            event_precision=Precision.POLL,
            observed_at=now,
            subject=Entity(Role.TARGET, row.endpoint),
            process=process,
        )


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
