"""One look at the sockets, in slices: the four tables, then the holders of what is new in them."""

from collections import deque

from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.sockowners import Holders, OwnerSearch
from agent.sense.sensors.sockrow import PROTOCOLS, SocketRow
from agent.sense.sensors.socktables import SocketTables
from proto.model import Process


class SocketLook:
    """A look that ends with rows and their processes.

    Args:
        tables: where new sockets come from.
        reader: reads the processes that hold them.
        holders: who to ask first; learns from this look.
        only_listening: look for new listeners, and no connections.
    """

    def __init__(
        self,
        tables: SocketTables,
        reader: ProcessReader,
        holders: Holders,
        *,
        only_listening: bool = False,
    ) -> None:
        self.only_listening = only_listening
        self._tables = tables
        self._reader = reader
        self._holders = holders
        self._todo = deque(PROTOCOLS)
        self._new: list[SocketRow] = []
        self._search: OwnerSearch | None = None

    def step(self) -> list[tuple[SocketRow, Process | None]] | None:
        """Do one slice; return the new sockets when the look is over."""
        if self._todo:
            protocol = self._todo.popleft()
            self._new += self._tables.new_rows(protocol, only_listening=self.only_listening)
            return None
        if self._search is None:
            inodes = [row.inode for row in self._new]
            self._search = OwnerSearch(self._reader.proc, inodes, self._holders.recent())
        if not self._search.is_done:
            self._search.step()
            return None
        return self._attributed(self._search.found)

    def _attributed(self, found: dict[int, int]) -> list[tuple[SocketRow, Process | None]]:
        self._holders.add(found.values())
        processes: dict[int, Process | None] = {}
        for pid in set(found.values()):
            sight = self._reader.read(pid)
            processes[pid] = sight.process if sight else None
        return [(row, processes.get(found.get(row.inode, 0))) for row in self._new]
