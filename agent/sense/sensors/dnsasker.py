"""Which process asked: looked for at once, while its socket is still there, or not named at all.

The packet tells a port of this host. The kernel is asked for the sockets on it, and exactly one of
them has to fit: connected to this server, or, on loopback, bound to the address. Then those who
asked before and the newest processes are looked through, and only now and then all of them: to do
so for each query would cost more than all else here. Who asks through a resolver of the host itself
is seen on loopback.
"""

from collections.abc import Callable
from typing import Final, Protocol

from agent.dnsframes import DnsSeen
from agent.sense.sensors.bucket import Bucket
from agent.sense.sensors.dnsendpoint import address_text
from agent.sense.sensors.identity import Hint, ProcessReader
from agent.sense.sensors.inetdiag import DiagRefused, InetDiag
from agent.sense.sensors.sockowners import Holders, OwnerSearch
from agent.sense.sensors.sockrow import SocketRow
from proto.model import Process

HOLDERS_ASKED_MAX: Final = 16
NEWEST_ASKED_MAX: Final = 32
BURST_LOOKUPS_MAX: Final = 20
# Searches of every process; each takes about 20 us a process.
SEARCHES_PER_S_MAX: Final = 0.1
BURST_SEARCHES_MAX: Final = 10

_ANY: Final = ("0.0.0.0", "::")  # noqa: S104  (what a socket may be bound to)


class PortTables(Protocol):
    """The kernel's sockets of one local port."""

    def of_local_port(self, protocol: str, port: int) -> list[SocketRow]:
        """Return them.

        Raises:
            DiagRefused: the kernel does not give this table.
        """
        ...

    def close(self) -> None:
        """Let go of it; harmless when repeated."""
        ...


class Askers:
    """Finds who asked, at most so often a second.

    Args:
        reader: reads processes.
        lookups_per_s_max: queries beyond it stay without a process.
        kernel: opens the kernel's answers; raises `DiagRefused` where there are none.
    """

    def __init__(
        self,
        reader: ProcessReader,
        lookups_per_s_max: int,
        kernel: Callable[[], PortTables] = InetDiag,
    ) -> None:
        self._reader = reader
        self._leave = Bucket(lookups_per_s_max, min(lookups_per_s_max, 1) * BURST_LOOKUPS_MAX)
        self._search_leave = Bucket(SEARCHES_PER_S_MAX, BURST_SEARCHES_MAX)
        self._kernel = kernel
        self._holders = Holders()

    def find(self, seen: DnsSeen, now: int) -> Process | None:
        """Return the process that asked; None where that cannot be told.

        Args:
            seen: a query.
            now: boot-clock nanoseconds.
        """
        if seen.is_tcp or not (seen.is_loopback or seen.is_outgoing) or not self._leave.take(now):
            return None
        inode = self._inode(seen)
        if not inode:
            return None
        pid = self._holder(inode, now)
        sight = self._reader.read(pid, hint=Hint(before=now)) if pid else None
        return sight.process if sight else None

    def _inode(self, seen: DnsSeen) -> int:
        """Return the inode of the one socket that fits; 0 for none or several."""
        try:
            diag = self._kernel()
        except DiagRefused:
            return 0
        try:
            rows = diag.of_local_port("udp6", seen.client_port)
            if len(seen.client) == 4:
                rows += diag.of_local_port("udp", seen.client_port)
        except DiagRefused:
            return 0
        finally:
            diag.close()
        fitting = [row.inode for row in rows if _fits(row, seen)]
        return fitting[0] if len(fitting) == 1 else 0

    def _holder(self, inode: int, now: int) -> int:
        try:
            pids = self._reader.proc.pids()
        except OSError:
            return 0
        newest = sorted(pids, reverse=True)[:NEWEST_ASKED_MAX]
        first = dict.fromkeys([*self._holders.recent()[:HOLDERS_ASKED_MAX], *newest])
        search = OwnerSearch(self._reader.proc, [inode], first)
        for _ in first:
            if search.is_done:
                break
            search.step()
        if not search.is_done and self._search_leave.take(now):
            while not search.is_done:
                search.step()
        self._holders.add(search.found.values())
        return search.found.get(inode, 0)


def _fits(row: SocketRow, seen: DnsSeen) -> bool:
    """Whether this socket, and no other, can have sent the query.

    A packet of a container that leaves through this host bears the host's address, and may bear the
    port of a socket of the host that is not connected.
    """
    end = row.endpoint
    if not row.inode or end.local_address not in (*_ANY, address_text(seen.client)):
        return False
    if end.remote_address is None:
        return seen.is_loopback
    return (end.remote_address, end.remote_port) == (address_text(seen.server), seen.server_port)
