import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.inspect.dnspacket import NoMessage, Segment, parse_packet
from tests.agent.inspect.dnsbytes import (
    HERE,
    HERE6,
    SERVER,
    SERVER6,
    a_query,
    address,
    ipv4,
    ipv6,
    tagged,
    tcp,
    udp,
)

ENDS = address(HERE), 40_000, address(SERVER), 53
ENDS6 = address(HERE6), 40_000, address(SERVER6), 53
QUERY = a_query()
FRAMED = len(QUERY).to_bytes(2, "big") + QUERY


@pytest.mark.parametrize(
    ("packet", "ends", "is_tcp"),
    [
        (ipv4(udp(QUERY)), ENDS, False),
        (ipv4(udp(QUERY), options=bytes(8)), ENDS, False),
        (ipv4(udp(QUERY)) + b"padding", ENDS, False),
        (ipv6(udp(QUERY)), ENDS6, False),
        (tagged(ipv4(udp(QUERY))), ENDS, False),
        (tagged(ipv6(udp(QUERY))), ENDS6, False),
        (ipv4(tcp(FRAMED), 6), ENDS, True),
        (ipv6(tcp(FRAMED), 6), ENDS6, True),
    ],
)
def test_what_stands_around_a_message_is_taken_off(
    packet: bytes, ends: tuple[bytes, int, bytes, int], *, is_tcp: bool
) -> None:
    assert parse_packet(packet) == Segment(is_tcp, *ends, QUERY)


def test_a_segment_that_carries_nothing_holds_an_empty_message() -> None:
    assert parse_packet(ipv4(tcp(b""), 6)).message == b""


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x00" * 60,
        ipv4(udp(QUERY))[:19],
        ipv4(udp(QUERY))[:-1],
        ipv4(udp(QUERY), fragment=0x2000),
        ipv4(udp(QUERY), fragment=0x0010),
        ipv4(udp(b"")),
        ipv4(udp(QUERY)[:6]),
        ipv4(udp(QUERY), protocol=1),
        ipv6(udp(QUERY))[:39],
        ipv6(udp(QUERY))[:-1],
        ipv6(udp(QUERY), protocol=44),
        ipv4(tcp(FRAMED[:-1]), 6),
        ipv4(tcp(FRAMED + FRAMED), 6),
        ipv4(tcp(b"\0"), 6),
    ],
)
def test_what_holds_no_whole_message_is_refused(packet: bytes) -> None:
    with pytest.raises(NoMessage):
        parse_packet(packet)


@given(data=st.binary(max_size=200), cut=st.integers(0, 60))
def test_any_bytes_are_a_segment_or_our_error(data: bytes, cut: int) -> None:
    wholes = ipv4(udp(data)), ipv6(udp(data)), ipv4(tcp(data), 6), tagged(ipv4(data))
    for packet in (data, b"\x45" + data, b"\x60" + data, *wholes, *(w[:cut] for w in wholes)):
        try:
            parse_packet(packet)
        except NoMessage:
            continue
