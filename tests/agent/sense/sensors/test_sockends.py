import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.inetdiag import DiagRefused
from agent.sense.sensors.sockends import Ended, EndsLost, EndsRefused, SocketEnds, parse_ended
from tests.agent.sense.sensors.hosts import come_and_go

BUFFER = 1 << 20


def a_message(
    *, family: int = socket.AF_INET, protocol: int = 6, port: int = 443, attributes: bytes = b""
) -> bytes:
    ports = struct.pack(">HH", 40_000, port)
    addresses = bytes([10, 0, 2, 10]) + bytes(12) + bytes([203, 0, 113, 5]) + bytes(12)
    body = struct.pack("=BBBB", family, 7, 0, 0) + ports + addresses
    body += struct.pack("=IQIIIII", 0, 0xC00C1E, 0, 0, 0, 0, 0)
    body += attributes + struct.pack("=HHB3x", 5, 10, protocol)
    return struct.pack("=IHHII", 16 + len(body), 20, 0, 0, 0) + body


@pytest.fixture
def ends() -> Iterator[SocketEnds]:
    try:
        ear = SocketEnds(BUFFER)
    except EndsRefused as error:
        pytest.skip(f"this kernel refuses: {error}")
    yield ear
    ear.close()


def heard(ends: SocketEnds, port: int, count: int) -> list[Ended]:
    """Wait for the kernel to have told of so many sockets of a port."""
    found: list[Ended] = []
    while len(found) < count:
        assert select.select([ends], [], [], 10)[0], "the kernel tells nothing"
        told = [event for event in ends.receive(100) if isinstance(event, Ended)]
        found += [event for event in told if port in ports_of(event)]
    return found


def ports_of(ended: Ended) -> tuple[object, object]:
    return ended.row.endpoint.local_port, ended.row.endpoint.remote_port


def test_a_message_is_read_after_other_attributes() -> None:
    ended = parse_ended(a_message(attributes=struct.pack("=HH4s", 8, 2, b"info")))

    assert ended is not None
    assert (ended.protocol, len(ended.key)) == ("tcp", 48)
    assert (ended.row.endpoint.local_port, ended.row.endpoint.remote_address) == (
        40_000,
        "203.0.113.5",
    )


@pytest.mark.parametrize(("family", "protocol"), [(socket.AF_INET, 132), (1, 6), (2, 255)])
def test_a_socket_of_another_kind_is_passed_over(family: int, protocol: int) -> None:
    assert parse_ended(a_message(family=family, protocol=protocol)) is None


@given(data=st.binary(max_size=200), cut=st.integers(0, 100))
def test_any_bytes_are_an_end_or_nothing_or_our_error(data: bytes, cut: int) -> None:
    whole = a_message(attributes=data)
    for payload in (data, whole, whole[:-cut], whole + data):
        try:
            parse_ended(payload)
        except DiagRefused:
            continue


def test_both_ends_of_a_closed_connection_and_its_listener_are_told(ends: SocketEnds) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        listener.accept()[0].close()
    listener.close()

    told = heard(ends, port, 3)

    assert {event.protocol for event in told} == {"tcp"}
    remotes = [event.row.endpoint.remote_port for event in told]
    assert (remotes.count(port), remotes.count(0)) == (1, 1)
    assert len({event.key for event in told}) == 3


def test_a_datagram_socket_with_a_peer_is_told(ends: SocketEnds) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.connect(("127.0.0.1", 9))
        port = caller.getsockname()[1]

    [told] = heard(ends, port, 1)

    assert (told.protocol, told.row.endpoint.remote_port) == ("udp", 9)
    assert not told.row.is_listening


@pytest.mark.usefixtures("ends")
def test_too_much_at_once_is_a_loss_and_what_follows_is_told() -> None:
    small = SocketEnds(4096)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        events: list[Ended | EndsLost] = []
        for _ in range(20):
            for _ in range(100):
                come_and_go(listener)
            time.sleep(0.1)  # the kernel tells a little later
            events += small.receive(1000)
            if EndsLost() in events:
                break
    told = heard(small, port, 1)

    small.close()
    assert EndsLost() in events
    assert told


@pytest.mark.root
def test_no_capability_is_needed_to_listen() -> None:
    script = (
        "import os, socket\n"
        "from agent.sense.sensors.sockends import SocketEnds\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "ends = SocketEnds(65536)\n"
        "print(ends.fileno() >= 0)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    if "PermissionError" in done.stderr:
        pytest.skip("root is needed to become somebody else")
    if "EndsRefused" in done.stderr:
        pytest.skip("this kernel wants a capability")
    assert done.stdout == "True\n"


def test_a_closed_ear_hears_nothing(ends: SocketEnds) -> None:
    ends.close()
    ends.close()

    assert ends.fileno() == -1
    assert ends.receive(10) == []
