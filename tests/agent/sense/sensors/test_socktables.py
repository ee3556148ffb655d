import socket
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors import socktables
from agent.sense.sensors.inetdiag import DiagRefused, InetDiag
from agent.sense.sensors.sockrow import PROTOCOLS
from agent.sense.sensors.socktables import SocketTables, TableLimits
from tests.agent.sense.sensors.hosts import a_golden_host

LIMITS = TableLimits(sockets_max=10_000, new_max=10_000)


class MoodyKernel:
    """Opens sock_diag, or refuses it as a kernel without its module does."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses

    def __call__(self) -> InetDiag:
        if self.refuses:
            raise DiagRefused("sock_diag: No such file or directory")
        return InetDiag()


def test_a_private_network_reads_the_hosts_through_process_1(tmp_path: Path) -> None:
    root = a_golden_host("debian12", tmp_path)
    for protocol in PROTOCOLS:
        (root / "proc" / "812" / "net" / protocol).unlink()  # what `self` leads to
    tables = SocketTables(HostRoot(root), LIMITS, is_host_network=False)

    counts = [len(tables.new_rows(protocol)) for protocol in PROTOCOLS]

    assert counts == [3, 3, 2, 0]
    assert tables.rung == socktables.PROCNET
    assert not tables.problems


def test_only_news_are_told_at_the_next_look(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    tables = SocketTables(host, LIMITS, is_host_network=False)
    tables.new_rows("tcp")

    assert tables.new_rows("tcp") == []


def test_where_the_kernel_refuses_its_text_is_read_and_that_is_said(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    kernel = MoodyKernel(refuses=True)
    tables = SocketTables(host, LIMITS, is_host_network=True, kernel=kernel)

    rows = tables.new_rows("tcp")

    assert len(rows) == 3
    assert tables.rung == socktables.PROCNET
    assert tables.problems == ["sock_diag: No such file or directory"]
    assert not tables.is_blind


def test_a_kernel_that_answers_again_does_not_tell_all_again() -> None:
    kernel = MoodyKernel()
    tables = SocketTables(HostRoot(), LIMITS, is_host_network=True, kernel=kernel)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tables.new_rows("tcp")
        if tables.rung != socktables.INETDIAG:
            pytest.skip("this kernel has no sock_diag")

        kernel.refuses = True
        tables.new_rows("tcp")
        refused_rung = tables.rung
        kernel.refuses = False
        rows = tables.new_rows("tcp")

    assert refused_rung == socktables.PROCNET
    assert tables.problems == []
    assert not [row for row in rows if row.endpoint.local_port == port]


def test_a_protocol_this_kernel_does_not_have_is_no_problem(tmp_path: Path) -> None:
    root = a_golden_host("debian12", tmp_path)
    (root / "proc" / "812" / "net" / "tcp6").unlink()
    kernel = MoodyKernel(refuses=True)
    tables = SocketTables(HostRoot(root), LIMITS, is_host_network=True, kernel=kernel)

    assert tables.new_rows("tcp6") == []
    assert tables.problems == []


def test_without_any_table_the_sensor_is_blind(tmp_path: Path) -> None:
    root = a_golden_host("debian12", tmp_path)
    table = root / "proc" / "1" / "net" / "tcp"
    table.unlink()
    table.mkdir()
    tables = SocketTables(HostRoot(root), LIMITS, is_host_network=False)

    tables.new_rows("tcp")

    assert tables.is_blind
    assert tables.rung == "none"
    assert "not a regular file" in tables.problems[0]


def test_limits_hold_and_are_said(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    few = SocketTables(host, TableLimits(sockets_max=100, new_max=2), is_host_network=False)
    fewer = SocketTables(host, TableLimits(sockets_max=2, new_max=100), is_host_network=False)

    first, more, second = len(few.new_rows("tcp")), few.has_more, len(few.new_rows("tcp"))
    fewer.new_rows("tcp")

    assert (first, more, second) == (2, True, 1)
    assert fewer.take_omitted() > 0
    assert fewer.take_omitted() == 0


def test_a_listener_that_is_gone_is_returned_once() -> None:
    tables = SocketTables(HostRoot(), LIMITS, is_host_network=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tables.new_rows("tcp")
        listening, none_gone = tables.listening_ports, tables.take_gone()

    tables.new_rows("tcp")
    gone = [row for row in tables.take_gone() if row.endpoint.local_port == port]

    assert ("tcp", port) in listening
    assert none_gone == []
    assert [row.is_listening for row in gone] == [True]
    assert tables.take_gone() == []
    assert ("tcp", port) not in tables.listening_ports


def test_a_look_at_listeners_alone_forgets_no_connection() -> None:
    tables = SocketTables(HostRoot(), LIMITS, is_host_network=True)
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            tables.new_rows("tcp")
            if tables.rung != socktables.INETDIAG:
                pytest.skip("this kernel has no sock_diag")
            with socket.create_server(("127.0.0.1", 0)) as second:
                port_2 = second.getsockname()[1]
                new = tables.new_rows("tcp", only_listening=True)
                ports = tables.listening_ports
                full = tables.new_rows("tcp")
            tables.new_rows("tcp", only_listening=True)
            gone = tables.take_gone()

    assert port_2 in {row.endpoint.local_port for row in new}
    assert {("tcp", port), ("tcp", port_2)} <= ports
    assert not [row for row in full if row.endpoint.local_port in {port, port_2}]
    assert port_2 in {row.endpoint.local_port for row in gone}
