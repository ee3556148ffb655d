from collections.abc import Callable
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.inetdiag import ALL_STATES, DiagRefused
from agent.sense.sensors.sockends import Ended, EndsLost, SocketEnds
from agent.sense.sensors.sockheard import EVENTS_MAX, TOLD_MAX, Heard
from agent.sense.sensors.sockrow import SocketRow, row_of
from agent.sense.sensors.socksweep import Sweep
from agent.sense.sensors.socktables import SocketTables, TableLimits
from runtime.clock import NS_PER_S

LISTEN, CLOSE, TIME_WAIT = 10, 7, 6


class Script(SocketEnds):
    """An ear that hears what the test says."""

    def __init__(self) -> None:
        self.waiting: list[Ended | EndsLost] = []

    def fileno(self) -> int:
        return 99

    def receive(self, events_max: int) -> list[Ended | EndsLost]:
        taken, self.waiting = self.waiting[:events_max], self.waiting[events_max:]
        return taken


class Table:
    """A kernel whose table of TCP sockets is what the test says."""

    def __init__(self, rows: dict[bytes, SocketRow]) -> None:
        self.rows = rows

    def sweep(self, protocol: str, sweep: Sweep, states: int = ALL_STATES) -> None:
        del states
        if protocol != "tcp":
            raise DiagRefused("no such table")
        for key, row in self.rows.items():
            if sweep.is_news(key):
                sweep.tell(key, row)

    def close(self) -> None:
        pass


def a_row(remote: int, *, local: int = 40_000, state: int = CLOSE, inode: int = 0) -> SocketRow:
    return row_of("tcp", state, (b"\x0a\0\0\1", local), (b"\x0a\0\0\2", remote), (0, inode))


def an_end(remote: int, key: bytes = b"new", local: int = 40_000) -> Ended:
    return Ended("tcp", key, a_row(remote, local=local))


def tables_of(folder: Path, rows: dict[bytes, SocketRow]) -> SocketTables:
    kernel: Callable[[], Table] = lambda: Table(rows)  # noqa: E731
    limits = TableLimits(sockets_max=100, new_max=100)
    tables = SocketTables(HostRoot(folder), limits, is_host_network=True, kernel=kernel)
    tables.new_rows("tcp")
    return tables


def test_a_connection_no_look_has_seen_is_told(tmp_path: Path) -> None:
    ends = Script()
    ends.waiting = [an_end(443, b"seen"), an_end(444, b"new")]
    tables = tables_of(tmp_path, {b"seen": a_row(443, state=1, inode=5)})

    found = Heard(ends).take(tables, 0)

    assert [row.endpoint.remote_port for row in found.connections] == [444]
    assert (found.listeners, found.is_lossy) == ([], False)


def test_a_listener_that_a_look_has_seen_is_told_as_it_was(tmp_path: Path) -> None:
    ends = Script()
    listener = a_row(0, local=22, state=LISTEN, inode=7)
    ends.waiting = [an_end(0, b"l", local=22), an_end(0, b"l", local=22)]

    found = Heard(ends).take(tables_of(tmp_path, {b"l": listener}), 0)

    assert found.listeners == [listener]
    assert found.connections == []


def test_what_was_never_connected_is_nothing_to_tell(tmp_path: Path) -> None:
    ends = Script()
    ends.waiting = [an_end(0, b"a"), an_end(443, b"b", local=0)]

    found = Heard(ends).take(tables_of(tmp_path, {}), 0)

    assert (found.connections, found.listeners) == ([], [])


def test_what_lingers_of_a_connection_that_was_told_is_known_for_a_minute(tmp_path: Path) -> None:
    ends, tables = Script(), tables_of(tmp_path, {})
    heard = Heard(ends)
    ends.waiting = [an_end(443)]
    heard.take(tables, 0)

    lingering, other = a_row(443, state=TIME_WAIT), a_row(445, state=TIME_WAIT)
    held = a_row(443, state=1, inode=9)
    told = heard.has_told(lingering), heard.has_told(other), heard.has_told(held)
    ends.waiting = [an_end(1, b"x")]
    heard.take(tables, 100 * NS_PER_S)

    assert told == (True, False, False)
    assert not heard.has_told(lingering)
    assert not heard.states_of_a_look & 1 << TIME_WAIT


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    ends, tables = Script(), tables_of(tmp_path, {})
    heard = Heard(ends)
    for first in range(0, TOLD_MAX + 10, 1000):
        ends.waiting = [an_end(port, local=port) for port in range(first + 1, first + 1001)]
        heard.take(tables, first * NS_PER_S // 1000)

    assert not heard.has_told(a_row(1, local=1))
    assert heard.has_told(a_row(TOLD_MAX, local=TOLD_MAX))


def test_a_loss_is_told(tmp_path: Path) -> None:
    ends = Script()
    ends.waiting = [EndsLost(), an_end(443)]

    found = Heard(ends).take(tables_of(tmp_path, {}), 0)

    assert found.is_lossy
    assert len(found.connections) == 1


def test_a_sporadic_end_is_read_at_once_and_many_once_a_second(tmp_path: Path) -> None:
    ends, tables = Script(), tables_of(tmp_path, {})
    heard = Heard(ends)
    watched = []
    for at in (0, 5, 5.1, 5.5, 6.2, 7.3):
        now = int(at * NS_PER_S)
        watched.append(bool(heard.descriptors(now)))
        if at < 7:
            ends.waiting = [an_end(443)]
        heard.take(tables, now)

    # The second one within a second begins a pause of one; the first quiet look ends it.
    assert watched == [True, True, True, False, True, True]
    assert heard.due() is None
    assert heard.descriptors(int(7.4 * NS_PER_S)) == (99,)


def test_more_than_one_reading_holds_is_read_on_at_once(tmp_path: Path) -> None:
    ends = Script()
    heard = Heard(ends)
    ends.waiting = [an_end(443)] * (EVENTS_MAX + 5)
    tables = tables_of(tmp_path, {})

    heard.take(tables, 100)
    due = heard.due()
    rest = heard.take(tables, 100)

    assert due == 100
    assert len(rest.connections) == 5
