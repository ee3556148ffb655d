import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.sockrow import End, row_of
from proto.model import Endpoint

V4 = (bytes([10, 0, 2, 10]), 22)
MAPPED = (bytes(10) + b"\xff\xff" + bytes([10, 0, 2, 10]), 80)
V6 = (ipaddress.ip_address("2001:db8::1").packed, 443)
ANY6 = (bytes(16), 0)


def test_a_connection_has_two_ends() -> None:
    row = row_of("tcp", 1, V4, (bytes([203, 0, 113, 5]), 443), (1000, 77))

    assert row.endpoint == Endpoint("tcp", "10.0.2.10", 22, "203.0.113.5", 443, "established", 77)
    assert (row.uid, row.is_listening) == (1000, False)


def test_a_listener_has_no_other_end() -> None:
    row = row_of("tcp", 10, V4, (bytes(4), 0), (0, 77))

    assert row.is_listening
    assert (row.endpoint.remote_address, row.endpoint.remote_port) == (None, None)


@pytest.mark.parametrize(("protocol", "listens"), [("udp", True), ("udp6", True), ("tcp", False)])
def test_a_datagram_socket_without_a_peer_listens(protocol: str, *, listens: bool) -> None:
    ends = (ANY6, ANY6) if protocol == "udp6" else (V4, (bytes(4), 0))

    assert row_of(protocol, 7, *ends, (0, 77)).is_listening is listens


def test_an_address_in_the_clothes_of_the_other_family_is_undressed() -> None:
    both = row_of("tcp6", 1, MAPPED, MAPPED, (0, 1)).endpoint
    one = row_of("udp6", 7, MAPPED, ANY6, (0, 1)).endpoint

    assert (both.protocol, both.local_address, both.remote_address) == (
        "tcp",
        "10.0.2.10",
        "10.0.2.10",
    )
    assert (one.protocol, one.local_address) == ("udp", "10.0.2.10")


def test_other_addresses_keep_theirs() -> None:
    listener = row_of("tcp6", 10, ANY6, ANY6, (0, 1)).endpoint
    speaker = row_of("tcp6", 1, V6, V6, (0, 1)).endpoint

    assert (listener.protocol, listener.local_address) == ("tcp6", "::")
    assert (speaker.protocol, speaker.remote_address) == ("tcp6", "2001:db8::1")


def test_a_socket_nobody_holds_has_no_inode() -> None:
    assert row_of("tcp", 6, V4, V4, (0, 0)).endpoint.inode is None


def test_a_state_we_do_not_know_keeps_its_number() -> None:
    assert row_of("tcp", 13, V4, V4, (0, 1)).endpoint.state == "13"


ENDS = st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 65535))


@given(local=ENDS, remote=ENDS, state=st.integers(0, 255))
def test_any_ends_make_a_row_with_addresses(local: End, remote: End, state: int) -> None:
    row = row_of("tcp6", state, local, remote, (0, 1))

    assert (row.endpoint.remote_address is None) == row.is_listening
    for address in (row.endpoint.local_address, row.endpoint.remote_address):
        if address is not None:
            ipaddress.ip_address(str(address))  # raises for what is none
