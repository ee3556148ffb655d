"""What is said of a socket: an observation, with the process and the direction where known.

A connection whose port of this host listens was begun by the other side, which is then its actor;
any other one was begun here, and the other side is its target.
"""

from typing import Final

from msgspec import structs

from agent.sense.sensors.sockrow import SocketRow
from proto.model import Entity, Observation, ObservationKind, Precision, Process, Role, Source
from runtime.clock import Clock

HOLDERS_MAX: Final = 4096

Ports = frozenset[tuple[str, int]]


class SocketTeller:
    """Makes observations.

    Args:
        clock: stamps them.
        source: what they say of where they come from; set anew when that changes.
    """

    def __init__(self, clock: Clock, source: Source) -> None:
        self._clock = clock
        self.source = source
        # The ports that listen, by ``tcp`` or ``udp`` and number.
        self.listening: Ports = frozenset()
        self._holders: dict[int, Process] = {}

    def seen(self, row: SocketRow, process: Process | None) -> Observation:
        """Tell of a socket that a look found."""
        if row.is_listening and process is not None and len(self._holders) < HOLDERS_MAX:
            self._holders[row.inode] = _brief(process)
        return self._observation(row, process, Precision.POLL)

    def unheld(self, row: SocketRow) -> Observation:
        """Tell of a connection that is already over: nobody knows any more who held it."""
        return self._observation(row, None, Precision.SECOND)

    def gone(self, row: SocketRow, precision: Precision) -> Observation:
        """Tell of a listener that is no more, with the process that held it when it was new."""
        process = self._holders.pop(row.inode, None)
        told = self._observation(row, process, precision)
        return structs.replace(told, kind=ObservationKind.SOCKET_CLOSE)

    def _observation(
        self, row: SocketRow, process: Process | None, precision: Precision
    ) -> Observation:
        now = self._clock.wall_ns()
        listens = row.is_listening
        return Observation(
            kind=ObservationKind.SOCKET_LISTEN if listens else ObservationKind.SOCKET_OPEN,
            source=self.source,
            event_time=now,
            event_precision=precision,
            observed_at=now,
            subject=Entity(Role.ACTOR if self._is_inbound(row) else Role.TARGET, row.endpoint),
            process=process,
        )

    def _is_inbound(self, row: SocketRow) -> bool:
        port = row.endpoint.protocol.removesuffix("6"), row.endpoint.local_port
        return not row.is_listening and port in self.listening


def _brief(process: Process) -> Process:
    """Return enough of a process to name it; thousands of them may have to be kept."""
    return Process(
        boot_id=process.boot_id,
        pid=process.pid,
        start=process.start,
        name=process.name,
        exe=process.exe,
        user=process.user,
        container=process.container,
        unit=process.unit,
        caveats=process.caveats,
    )
