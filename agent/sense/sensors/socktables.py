"""The four socket tables, each from the best source that gives it, and what is new in them.

Keys differ between sources, so each source is compared with itself: when the kernel's answer is
refused for a while, nothing known is forgotten.
"""

from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.inetdiag import ALL_STATES, LISTENING_STATES, DiagRefused, InetDiag
from agent.sense.sensors.procnet import ProcNet
from agent.sense.sensors.sockrow import SocketRow
from agent.sense.sensors.socksweep import Sweep

INETDIAG: Final = "inetdiag"
PROCNET: Final = "procnet"


class TableLimits(Struct, frozen=True):
    """How many sockets of one table are followed, and told of at one look."""

    sockets_max: int
    new_max: int


class KernelTables(Protocol):
    """The kernel's own answers, opened for one table."""

    def sweep(self, protocol: str, sweep: Sweep, states: int = ALL_STATES) -> None:
        """Sweep the table of ``protocol``, or what of it is in one of ``states``.

        Raises:
            DiagRefused: the kernel does not give this table.
        """
        ...

    def close(self) -> None:
        """Let go of it; harmless when repeated."""
        ...


class SocketTables:
    """Reads the tables of the host's network.

    Args:
        host: where /proc is.
        limits: of each table.
        is_host_network: our own network is the host's, so the kernel answers for it; if not, its
            tables are read through process 1.
        kernel: opens the kernel's answers; raises `DiagRefused` where there are none.
    """

    def __init__(
        self,
        host: HostRoot,
        limits: TableLimits,
        *,
        is_host_network: bool,
        kernel: Callable[[], KernelTables] = InetDiag,
    ) -> None:
        self._kernel = kernel
        self._text = ProcNet(host, "self" if is_host_network else "1")
        self._limits = limits
        self._asks_kernel = is_host_network
        self._known: dict[tuple[str, str], set[bytes]] = {}
        self._listening: dict[tuple[str, str], dict[bytes, SocketRow]] = {}
        self._gone: list[SocketRow] = []
        self._problems: dict[str, str] = {}
        self._rungs: dict[str, str] = {}
        self._omitted = 0
        self.has_more = False
        # What a full look asks the kernel for.
        self.states = ALL_STATES

    @property
    def rung(self) -> str:
        """The sources that gave the tables last read."""
        rungs = set(self._rungs.values())
        return "+".join(sorted(rungs)) if rungs else "none"

    @property
    def problems(self) -> list[str]:
        """What kept a table from being read, or read well."""
        return sorted(set(self._problems.values()))

    @property
    def is_blind(self) -> bool:
        """Whether no table could be read."""
        return not self._rungs and bool(self._problems)

    @property
    def known(self) -> int:
        """How many sockets the last looks saw."""
        return sum(map(len, self._known.values()))

    @property
    def listening_ports(self) -> set[tuple[str, int]]:
        """The ports on which something listens: ``tcp`` or ``udp``, and the number."""
        return {
            (protocol.removesuffix("6"), row.endpoint.local_port)
            for protocol, rung in self._rungs.items()
            for row in self._listening.get((protocol, rung), {}).values()
        }

    def new_rows(self, protocol: str, *, only_listening: bool = False) -> list[SocketRow]:
        """Return the sockets of a table that were not in it at the last look.

        Where there were too many at once, ``has_more`` becomes true: look again.

        Args:
            protocol: the table.
            only_listening: look no further than the listeners, where the source can tell them
                apart before it has told all.
        """
        self._problems.pop(protocol, None)
        if self._asks_kernel:
            try:
                return self._kernel_rows(protocol, only_listening=only_listening)
            except DiagRefused as error:
                self._problems[protocol] = error.message
        try:
            sweep = self._new_sweep(protocol, PROCNET)
            self._text.sweep(protocol, sweep)
            return self._swept(protocol, PROCNET, sweep)
        except HostFileMissing:
            # No such protocol in this kernel: nothing to see, and so nothing missed.
            self._rungs.pop(protocol, None)
            self._problems.pop(protocol, None)
        except HostFileError as error:
            self._rungs.pop(protocol, None)
            self._problems[protocol] = error.message
        return []

    def knows(self, protocol: str, key: bytes) -> bool:
        """Whether the kernel's table had a socket under this key at the last look."""
        return key in self._known.get((protocol, INETDIAG), ())

    def take_listener(self, protocol: str, key: bytes) -> SocketRow | None:
        """Forget a listener of the kernel's table and return it; None where there was none."""
        return self._listening.get((protocol, INETDIAG), {}).pop(key, None)

    def take_gone(self) -> list[SocketRow]:
        """Return the listeners that have ended since this was asked last."""
        gone, self._gone = self._gone, []
        return gone

    def _kernel_rows(self, protocol: str, *, only_listening: bool) -> list[SocketRow]:
        diag = self._kernel()
        try:
            sweep = self._new_sweep(protocol, INETDIAG, only_listening=only_listening)
            diag.sweep(protocol, sweep, LISTENING_STATES if only_listening else self.states)
            if only_listening:
                sweep.now |= self._known.get((protocol, INETDIAG), set()) - sweep.known
            return self._swept(protocol, INETDIAG, sweep)
        finally:
            diag.close()

    def _new_sweep(self, protocol: str, rung: str, *, only_listening: bool = False) -> Sweep:
        known = self._known.get((protocol, rung), set())
        if only_listening:
            known = set(self._listening.get((protocol, rung), ()))
        return Sweep(known, keys_max=self._limits.sockets_max, new_max=self._limits.new_max)

    def _swept(self, protocol: str, rung: str, sweep: Sweep) -> list[SocketRow]:
        at = protocol, rung
        before = self._listening.get(at, {})
        self._gone += [row for key, row in before.items() if key not in sweep.now]
        kept = {key: row for key, row in before.items() if key in sweep.now}
        self._listening[at] = kept | sweep.listening
        self._known[at] = sweep.now
        self._rungs[protocol] = rung
        self._omitted += sweep.omitted
        self.has_more = self.has_more or sweep.has_more
        return sweep.new

    def take_omitted(self) -> int:
        """Return how many sockets beyond the limit were not looked at since this was asked last."""
        omitted, self._omitted = self._omitted, 0
        return omitted
