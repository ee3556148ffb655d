import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.inetdiag import (
    LISTENING_STATES,
    DiagAnswer,
    DiagRefused,
    InetDiag,
    parse_message,
    request,
)
from agent.sense.sensors.sockrow import SocketRow
from agent.sense.sensors.socksweep import Sweep

DONE, ERROR, BY_FAMILY = 3, 2, 20


def a_netlink_message(kind: int, body: bytes, flags: int = 2) -> bytes:
    padded = body + bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + padded


def a_diag_message(*, state: int = 1, inode: int = 77, attributes: bytes = b"") -> bytes:
    ports = struct.pack(">HH", 22, 40_000)
    addresses = bytes([10, 0, 2, 10]) + bytes(12) + bytes([203, 0, 113, 5]) + bytes(12)
    tail = struct.pack("=IQIIIII", 0, 0xC00C1E, 0, 0, 0, 1000, inode)
    head = struct.pack("=BBBB", socket.AF_INET, state, 0, 0)
    return head + ports + addresses + tail + attributes


def sweep(protocol: str, known: set[bytes] | None = None) -> Sweep:
    try:
        diag = InetDiag()
        swept = Sweep(known or set(), keys_max=100_000, new_max=100_000)
        diag.sweep(protocol, swept)
    except DiagRefused as error:
        pytest.skip(f"this kernel refuses: {error}")
    diag.close()
    return swept


def of_port(rows: list[SocketRow], port: int) -> list[SocketRow]:
    return [row for row in rows if port in {row.endpoint.local_port, row.endpoint.remote_port}]


def test_a_request_is_a_header_and_an_empty_id() -> None:
    data = request(socket.AF_INET, socket.IPPROTO_TCP)

    assert len(data) == 72
    assert struct.unpack_from("=IHH", data) == (72, BY_FAMILY, 0x301)
    family, protocol, extensions, _, states = struct.unpack_from("=BBBBI", data, 16)
    assert (family, protocol, extensions) == (socket.AF_INET, socket.IPPROTO_TCP, 0)
    assert states & 1 << 10
    assert states & 1 << 6
    assert not states & 1 << 3


def test_a_message_is_read() -> None:
    row = parse_message(a_diag_message(), "tcp")

    endpoint = row.endpoint
    assert (endpoint.local_address, endpoint.local_port) == ("10.0.2.10", 22)
    assert (endpoint.remote_address, endpoint.remote_port) == ("203.0.113.5", 40_000)
    assert (row.uid, row.inode, endpoint.state) == (1000, 77, "established")


def test_messages_of_any_length_follow_each_other() -> None:
    bodies = [a_diag_message(attributes=b"x" * size) for size in (0, 5, 8)]
    data = b"".join(a_netlink_message(BY_FAMILY, body) for body in bodies)
    answer = DiagAnswer(data + a_netlink_message(DONE, bytes(4)))

    inodes = [parse_message(answer.data[at : at + 72], "tcp").inode for at in answer.messages()]

    assert inodes == [77, 77, 77]
    assert answer.is_last
    assert not answer.is_torn


def test_a_table_torn_while_it_was_read_says_so() -> None:
    answer = DiagAnswer(a_netlink_message(BY_FAMILY, a_diag_message(), flags=0x12))

    assert len(list(answer.messages())) == 1
    assert answer.is_torn
    assert not answer.is_last


def test_a_refusal_is_our_error_in_the_kernels_words() -> None:
    answer = DiagAnswer(a_netlink_message(ERROR, struct.pack("=i", -1) + bytes(16)))

    with pytest.raises(DiagRefused, match="Operation not permitted"):
        list(answer.messages())


@pytest.mark.parametrize(
    "data",
    [
        a_netlink_message(BY_FAMILY, a_diag_message())[:60],
        a_netlink_message(BY_FAMILY, a_diag_message()[:40]),
        struct.pack("=IHHII", 3, BY_FAMILY, 0, 0, 0),
    ],
)
def test_what_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(DiagRefused):
        list(DiagAnswer(data).messages())


@given(data=st.binary(max_size=300), kind=st.sampled_from([BY_FAMILY, DONE, ERROR, 99]))
def test_any_bytes_give_messages_or_our_error(data: bytes, kind: int) -> None:
    for payload in (data, a_netlink_message(kind, data), a_netlink_message(kind, data) + data):
        answer = DiagAnswer(payload)
        try:
            for at in answer.messages():
                parse_message(answer.data[at : at + 72], "tcp6")
        except DiagRefused:
            continue


@pytest.mark.parametrize(
    ("protocol", "family", "kind", "address"),
    [
        ("tcp", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
        ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, "::1"),
        ("udp", socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
        ("udp6", socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
    ],
)
def test_a_listener_and_its_callers_are_in_the_table(
    protocol: str, family: int, kind: int, address: str
) -> None:
    with socket.socket(family, kind) as listener, socket.socket(family, kind) as caller:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"this host has no {address}")
        if kind == socket.SOCK_STREAM:
            listener.listen()
        port = listener.getsockname()[1]
        before = sweep(protocol)
        caller.connect((address, port))

        after = sweep(protocol, before.now)

    [listening] = [row for row in of_port(before.new, port) if row.is_listening]
    assert listening.endpoint.local_address == address
    assert listening.endpoint.protocol == protocol
    called = [row for row in of_port(after.new, port) if row.endpoint.remote_port == port]
    assert [row.endpoint.remote_address for row in called] == [address]
    assert not [row for row in after.new if row.is_listening and row.inode == listening.inode]


def test_a_connection_we_closed_lingers_and_is_no_news() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        caller = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        before = sweep("tcp")
        caller.close()
        accepted.close()

        lingering = of_port(sweep("tcp").new, port)
        news = of_port(sweep("tcp", before.now).new, port)

    states = [row.endpoint.state for row in lingering if row.endpoint.remote_port == port]
    assert states == ["time_wait"]
    assert news == []


def test_a_mapped_connection_is_one_of_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            rows = of_port(sweep("tcp6").new, port)
            accepted.close()

    [connection] = [row for row in rows if not row.is_listening]
    assert (connection.endpoint.protocol, connection.endpoint.local_address) == (
        "tcp",
        "127.0.0.1",
    )


def test_a_closed_socket_refuses() -> None:
    diag = InetDiag()
    diag.close()
    diag.close()

    with pytest.raises(DiagRefused):
        diag.sweep("tcp", Sweep(set(), keys_max=1, new_max=1))


@pytest.mark.parametrize("is_connected", [True, False])
def test_the_sockets_of_one_port_are_picked_out(*, is_connected: bool) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wanted,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for one in (wanted, other):
            one.bind(("127.0.0.1", 0))
        if is_connected:
            wanted.connect(("127.0.0.1", 53))
        port = wanted.getsockname()[1]
        diag = InetDiag()
        rows = diag.of_local_port("udp", port)
        diag.close()

    assert [row.endpoint.local_port for row in rows] == [port]
    assert rows[0].endpoint.remote_port == (53 if is_connected else None)


def test_a_look_may_be_at_listeners_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            swept = Sweep(set(), keys_max=100_000, new_max=100_000)
            diag = InetDiag()
            diag.sweep("tcp", swept, LISTENING_STATES)
            diag.close()

    assert [row.is_listening for row in of_port(swept.new, port)] == [True]
    assert all(row.is_listening for row in swept.new)
