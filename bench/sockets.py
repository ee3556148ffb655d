"""Sockets: what one look at the socket tables costs.

A process of its own holds ``--scale`` sockets, connections over loopback from both their ends. Then
each kind of look is taken several times:

``socket_snapshot_cpu_ms``  everything: every table, every socket new, made into a row
``socket_look_cpu_ms``      the usual one: nothing is new
``socket_listening_cpu_ms`` listeners alone
``socket_holders_cpu_ms``   a search for the process behind every socket
``ended_socket_cpu_us``     reading that one socket has ended

The peer is psutil's ``net_connections``, tables and holders together, on the same sockets in the
same run; its figure is compared with our snapshot and search together.
"""

import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from agent.hostroot import HostRoot
from agent.sense.sensors.procdir import Proc
from agent.sense.sensors.sockends import EndsRefused, SocketEnds
from agent.sense.sensors.sockowners import OwnerSearch
from agent.sense.sensors.sockrow import PROTOCOLS, SocketRow
from agent.sense.sensors.socktables import SocketTables, TableLimits
from bench.report import BenchFailed, Figures, median

CLOCK = "processor time of this process for one look at all four tables"
SCALE = 8000
UNIT = "sockets"
ROUNDS = 5
ENDS = 1000
_MS, _US = 1e3, 1e6
_HOLDER = """
import resource, socket, sys
pairs = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, pairs * 2 + 100), hard))
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
held = []
for _ in range(pairs):
    held.append(socket.create_connection(listener.getsockname()))
    held.append(listener.accept()[0])
print(len(held), flush=True)
sys.stdin.read()
"""


def measure(scale: int) -> Figures:
    """Look at ``scale`` sockets.

    Raises:
        BenchFailed: so many sockets cannot be opened here, or are not found.
    """
    with sockets_held(scale) as pid:
        return snapshot_figures(pid, scale)


def snapshot_figures(pid: int, sockets: int) -> Figures:
    """Return our figures and those of the peer for what is open now.

    Args:
        pid: who holds the sockets.
        sockets: how many there are at least.

    Raises:
        BenchFailed: they are not found.
    """
    tables = a_reader()
    first = _cpu(lambda: _rows(a_reader()), _MS)
    rows = _rows(tables)
    if len(rows) < sockets:
        raise BenchFailed(f"{len(rows)} of {sockets} sockets were found")
    inodes = [row.inode for row in rows]
    holders = _cpu(lambda: _search(inodes, pid), _MS)
    ours = {
        "socket_snapshot_cpu_ms": first,
        "socket_look_cpu_ms": _cpu(lambda: _rows(tables), _MS),
        "socket_listening_cpu_ms": _cpu(lambda: _listening(tables), _MS),
        "socket_holders_cpu_ms": holders,
        "sockets": len(rows),
    }
    if (ended := _ended_cpu_us()) is not None:
        ours["ended_socket_cpu_us"] = ended
    peer = _cpu(lambda: psutil.net_connections("inet"), _MS)
    ratio = (first + holders) / peer
    names = "snapshot_and_holders_cpu_ms", "snapshot_and_holders_cpu_ms_ratio"
    return Figures(ours, {"psutil": dict(zip(names, (peer, ratio), strict=True))})


def a_reader() -> SocketTables:
    """Return a reader that knows no socket yet."""
    limits = TableLimits(sockets_max=1_000_000, new_max=1_000_000)
    return SocketTables(HostRoot(), limits, is_host_network=True)


@contextmanager
def sockets_held(count: int) -> Iterator[int]:
    """Have a process hold so many sockets, connections over loopback; yield its number.

    Raises:
        BenchFailed: it cannot.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < count + 100:
        raise BenchFailed(f"only {hard} files may be open here")
    pairs = (count + 1) // 2
    argv = [sys.executable, "-P", "-c", _HOLDER, str(pairs)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            if holder.stdout is None or not holder.stdout.readline():
                raise BenchFailed("the sockets could not be opened")
            yield holder.pid
        finally:
            holder.kill()


def _rows(tables: SocketTables) -> list[SocketRow]:
    return [row for protocol in PROTOCOLS for row in tables.new_rows(protocol)]


def _listening(tables: SocketTables) -> None:
    for protocol in PROTOCOLS:
        tables.new_rows(protocol, only_listening=True)


def _search(inodes: list[int], pid: int) -> None:
    """Look through every process, as when one holder cannot be found."""
    search = OwnerSearch(Proc(HostRoot()), [*inodes, 1], [pid])
    while not search.is_done:
        search.step()


def _ended_cpu_us() -> float | None:
    """Return what it costs to read that a socket has ended; None where the kernel tells nobody."""
    try:
        ends = SocketEnds(8 << 20)
    except EndsRefused:
        return None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(ENDS // 2):
            with socket.create_connection(listener.getsockname()) as caller:
                # Broken off: thousands that linger would be in the way of the next benchmark.
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted, _ = listener.accept()
            accepted.close()
    count, began, spent = 0, time.monotonic(), 0.0
    while count < ENDS and time.monotonic() - began < 10:
        select.select([ends], [], [], 1)
        time.sleep(0.05)
        before = _now()
        count += len(ends.receive(ENDS))
        spent += _now() - before
    ends.close()
    return spent * _US / count if count else None


def _cpu(work: Callable[[], object], unit: float) -> float:
    """Return the processor time of some work, the middle of several runs."""
    spent = []
    for _ in range(ROUNDS):
        before = _now()
        work()
        spent.append((_now() - before) * unit)
    return median(spent)


def _now() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
