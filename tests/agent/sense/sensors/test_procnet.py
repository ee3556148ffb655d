import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileMissing, HostRoot
from agent.sense.sensors.procfs import ProcError
from agent.sense.sensors.procnet import ProcNet, parse_line, sweep_table
from agent.sense.sensors.socksweep import Sweep
from tests.agent.sense.sensors.hosts import a_golden_host

HEADER = b"  sl  local_address rem_address   st\n"


def a_sweep(known: set[bytes] | None = None) -> Sweep:
    return Sweep(known or set(), keys_max=10_000, new_max=10_000)


def a_line(local: str, remote: str, state: str, inode: int) -> bytes:
    queues = "00000000:00000000 00:00000000 00000000"
    return f"   0: {local} {remote} {state} {queues}  1000        0 {inode} 1 0 100\n".encode()


def test_the_tables_of_a_host_are_read(tmp_path: Path) -> None:
    tables = ProcNet(HostRoot(a_golden_host("debian12", tmp_path)), "self")
    sweep = a_sweep()

    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        tables.sweep(protocol, sweep)

    assert [
        (
            row.endpoint.protocol,
            row.endpoint.local_address,
            row.endpoint.local_port,
            row.endpoint.remote_address,
            row.endpoint.remote_port,
            row.endpoint.state,
            row.inode,
            row.uid,
        )
        for row in sweep.new
    ] == [
        ("tcp", "0.0.0.0", 22, None, None, "listen", 20001, 0),
        ("tcp", "10.0.2.10", 22, "192.168.0.1", 54321, "established", 20100, 0),
        ("tcp", "10.0.2.10", 40000, "203.0.113.5", 443, "time_wait", 0, 0),
        ("tcp6", "::", 22, None, None, "listen", 20002, 0),
        ("tcp", "10.0.2.10", 80, "198.113.88.7", 49152, "established", 30001, 101),
        ("tcp6", "2001:db8::1", 80, "2001:db8::9", 49153, "established", 30002, 101),
        ("udp", "0.0.0.0", 68, None, None, "close", 20300, 0),
        ("udp", "10.0.2.10", 32768, "1.1.1.1", 53, "established", 20301, 33),
    ]


def test_what_was_known_is_no_news_even_without_its_inode() -> None:
    open_now = HEADER + a_line("0A02000A:9C40", "057100CB:01BB", "01", 77)
    closed = HEADER + a_line("0A02000A:9C40", "057100CB:01BB", "06", 0)
    first, second = a_sweep(), a_sweep()
    sweep_table(open_now, "tcp", first)

    again = a_sweep(first.now)
    sweep_table(open_now, "tcp", again)
    lingering = a_sweep(first.now)
    sweep_table(closed, "tcp", lingering)
    sweep_table(closed, "tcp", second)

    assert [len(sweep.new) for sweep in (first, again, lingering, second)] == [1, 0, 0, 1]


def test_the_same_ends_in_another_socket_are_news() -> None:
    first = a_sweep()
    sweep_table(HEADER + a_line("0A02000A:9C40", "057100CB:01BB", "01", 77), "tcp", first)

    second = a_sweep(first.now)
    sweep_table(HEADER + a_line("0A02000A:9C40", "057100CB:01BB", "01", 78), "tcp", second)

    assert len(second.new) == 1


def test_listeners_that_share_a_port_are_all_told() -> None:
    sweep = a_sweep()
    lines = [a_line("00000000:0050", "00000000:0000", "0A", inode) for inode in (1, 2, 3)]

    sweep_table(HEADER + b"".join(lines), "tcp", sweep)

    assert [row.inode for row in sweep.new] == [1, 2, 3]


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostFileMissing):
        ProcNet(HostRoot(tmp_path), "1").sweep("tcp", a_sweep())


@pytest.mark.parametrize(
    "line",
    [
        a_line("zz:0016", "00000000:0000", "0A", 1),
        a_line("00000000", "00000000:0000", "0A", 1),
        a_line("0000:0016", "00000000:0000", "0A", 1),
        a_line("00000000:FFFFF", "00000000:0000", "0A", 1),
        a_line("00000000:0016", "00000000:0000", "FF", 1),
        a_line("00000000:0016", "00000000:0000", "0A", -1),
        b"one two",
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ProcError):
        parse_line(line.split(None, 10), "tcp")


@given(data=st.binary(max_size=400), protocol=st.sampled_from(["tcp", "tcp6", "udp", "udp6"]))
def test_any_bytes_are_a_table(data: bytes, protocol: str) -> None:
    sweep_table(HEADER + data, protocol, a_sweep())


@given(fields=st.lists(st.binary(max_size=34), min_size=10, max_size=10))
def test_any_fields_are_a_row_or_our_error(fields: list[bytes]) -> None:
    for protocol in ("tcp", "tcp6"):
        try:
            parse_line(fields, protocol)
        except ProcError:
            continue


def test_a_listener_of_ours_is_in_the_kernels_text() -> None:
    sweep = a_sweep()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ProcNet(HostRoot(), "self").sweep("tcp", sweep)
        port = listener.getsockname()[1]

    [row] = [row for row in sweep.new if row.is_listening and row.endpoint.local_port == port]
    assert row.endpoint.local_address == "127.0.0.1"
