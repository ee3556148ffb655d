import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.dnsframes import DnsSeen
from agent.hostroot import HostRoot
from agent.sense.sensors import dnsasker
from agent.sense.sensors.dnsasker import BURST_LOOKUPS_MAX, BURST_SEARCHES_MAX, Askers
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.inetdiag import DiagRefused
from agent.sense.sensors.sockrow import SocketRow, row_of
from runtime.clock import NS_PER_S, SystemClock
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.agent.test_dnsframes import a_sighting
from tests.fakes.clock import FakeClock

LOOPBACK, SERVER = socket.inet_aton("127.0.0.1"), socket.inet_aton("127.0.0.53")
NGINX_INODE, NGINX = 30001, 1200


class Kernel:
    """A kernel whose sockets of a port are what the test says."""

    def __init__(self, *rows: SocketRow) -> None:
        self.rows = list(rows)
        self.asked = 0

    def __call__(self) -> "Kernel":
        self.asked += 1
        return self

    def of_local_port(self, protocol: str, port: int) -> list[SocketRow]:
        ours = [row for row in self.rows if row.endpoint.protocol == protocol]
        return [row for row in ours if row.endpoint.local_port == port]

    def close(self) -> None:
        pass


def refusing() -> Kernel:
    raise DiagRefused("sock_diag: No such file or directory")


def a_query(*, port: int = 40_000, is_loopback: bool = True, is_outgoing: bool = False) -> DnsSeen:
    return a_sighting(
        is_answer=False,
        is_loopback=is_loopback,
        is_outgoing=is_outgoing,
        client=LOOPBACK,
        client_port=port,
        server=SERVER,
        answers=(),
    )


def a_socket(
    *, local: bytes = LOOPBACK, server: bytes = SERVER, inode: int = NGINX_INODE, state: int = 1
) -> SocketRow:
    return row_of("udp", state, (local, 40_000), (server, 53), (0, inode))


def unconnected(local: bytes = bytes(4), inode: int = NGINX_INODE) -> SocketRow:
    return row_of("udp", 7, (local, 40_000), (bytes(4), 0), (0, inode))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[ProcessReader]:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    made = ProcessReader(host, FakeClock(), argv_bytes_max=4096)
    yield made
    made.close()


def found(reader: ProcessReader, query: DnsSeen, *rows: SocketRow) -> int | None:
    process = Askers(reader, 10, Kernel(*rows)).find(query, 10**18)
    return process.pid if process else None


def test_the_holder_of_the_one_socket_that_fits_asked(reader: ProcessReader) -> None:
    assert found(reader, a_query(), a_socket()) == NGINX
    assert found(reader, a_query(), unconnected()) == NGINX
    assert found(reader, a_query(), unconnected(LOOPBACK)) == NGINX
    assert found(reader, a_query(is_loopback=False, is_outgoing=True), a_socket()) == NGINX


def test_where_it_could_be_another_nobody_is_named(reader: ProcessReader) -> None:
    elsewhere = socket.inet_aton("192.0.2.1")
    leaves = a_query(is_loopback=False, is_outgoing=True)

    assert found(reader, a_query()) is None
    assert found(reader, a_query(), a_socket(server=elsewhere)) is None
    assert found(reader, a_query(), a_socket(local=elsewhere)) is None
    assert found(reader, a_query(), a_socket(inode=0)) is None
    assert found(reader, a_query(), unconnected(), unconnected(inode=20001)) is None
    # A packet of a container may bear the port of a socket of the host.
    assert found(reader, leaves, unconnected()) is None
    # One that came from outside is not asked by anybody here.
    assert found(reader, a_query(is_loopback=False), a_socket()) is None
    assert found(reader, a_query()._replace(is_tcp=True), a_socket()) is None


def test_a_socket_that_nobody_holds_any_more_names_nobody(reader: ProcessReader) -> None:
    assert found(reader, a_query(), a_socket(inode=999_999)) is None


def test_a_process_that_began_after_the_query_did_not_ask(reader: ProcessReader) -> None:
    assert Askers(reader, 10, Kernel(a_socket())).find(a_query(), 0) is None


def test_a_kernel_that_refuses_names_nobody(reader: ProcessReader) -> None:
    assert Askers(reader, 10, refusing).find(a_query(), 10**18) is None


def test_lookups_are_held_to_a_rate(reader: ProcessReader) -> None:
    kernel = Kernel(a_socket())
    askers = Askers(reader, 5, kernel)
    now = 10**18

    for _ in range(BURST_LOOKUPS_MAX + 10):
        askers.find(a_query(), now)
    at_once = kernel.asked
    for _ in range(10):
        askers.find(a_query(), now + NS_PER_S)

    assert at_once == BURST_LOOKUPS_MAX
    assert kernel.asked == at_once + 5


def test_all_processes_are_looked_through_only_now_and_then(
    reader: ProcessReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dnsasker, "NEWEST_ASKED_MAX", 0)
    monkeypatch.setattr(dnsasker, "HOLDERS_ASKED_MAX", 0)
    askers = Askers(reader, 1000, Kernel(a_socket()))
    now = 10**18

    named = [askers.find(a_query(), now) is not None for _ in range(BURST_SEARCHES_MAX + 2)]
    later = askers.find(a_query(), now + 11 * NS_PER_S)

    assert named == [True] * BURST_SEARCHES_MAX + [False, False]
    assert later is not None


def test_none_are_made_where_the_rate_is_nothing(reader: ProcessReader) -> None:
    kernel = Kernel(a_socket())

    assert Askers(reader, 0, kernel).find(a_query(), 10**18) is None
    assert kernel.asked == 0


def test_a_query_of_ours_is_ours() -> None:
    clock = SystemClock()
    reader = ProcessReader(HostRoot(), clock, argv_bytes_max=4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind(("127.0.0.1", 0))
        caller.connect(("127.0.0.53", 53))
        query = a_query(port=caller.getsockname()[1])

        process = Askers(reader, 10).find(query, clock.boot_ns())

    reader.close()
    assert process is not None
    assert process.pid == os.getpid()
