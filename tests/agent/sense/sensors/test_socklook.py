from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.socklook import SocketLook
from agent.sense.sensors.sockowners import Holders
from agent.sense.sensors.socktables import SocketTables, TableLimits
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.fakes.clock import FakeClock


def test_a_look_ends_with_every_new_socket_and_who_holds_it(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    limits = TableLimits(sockets_max=100, new_max=100)
    tables = SocketTables(host, limits, is_host_network=False)
    reader = ProcessReader(host, FakeClock(), argv_bytes_max=4096)
    holders = Holders()

    look = SocketLook(tables, reader, holders)
    steps = 1
    while (rows := look.step()) is None:
        steps += 1

    held = {row.inode: process.name if process is not None else None for row, process in rows}
    assert held == {
        20001: "sshd",
        20002: "sshd",
        20100: "sshd",
        30001: "nginx",
        0: None,
        30002: None,
        20300: None,
        20301: None,
    }
    assert sorted(holders.recent()) == [812, 850, 1200]
    assert steps > 4


def test_a_look_at_what_is_known_asks_nobody(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    limits = TableLimits(sockets_max=100, new_max=100)
    tables = SocketTables(host, limits, is_host_network=False)
    reader = ProcessReader(host, FakeClock(), argv_bytes_max=4096)
    first = SocketLook(tables, reader, Holders())
    while first.step() is None:
        pass

    second = SocketLook(tables, reader, Holders())
    outcomes = [second.step() for _ in range(5)]

    assert outcomes == [None, None, None, None, []]
