"""The laws of addresses, networks and ports."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.addresses import (
    Network,
    address_number,
    address_text,
    ipv4_number,
    parse_address,
    parse_endpoint,
    parse_network,
    read_network,
)
from proto.content.errors import BadValue

V4 = st.integers(1, 2**32 - 1)
V6 = st.integers(2**40, 2**128 - 1)


@given(number=V4)
def test_an_ipv4_address_reads_as_the_library_reads_it(number: int) -> None:
    text = str(ipaddress.IPv4Address(number))

    assert ipv4_number(text) == number
    assert address_text(4, number) == text


@given(number=V6)
def test_an_ipv6_address_reads_as_the_library_reads_it(number: int) -> None:
    address = ipaddress.IPv6Address(number)

    for text in (str(address), address.exploded, str(address).upper()):
        assert str(parse_address(text)) == address_text(*address_number(text))
    assert address_text(6, number) == str(address)


@given(number=V4)
def test_an_ipv4_address_inside_ipv6_is_that_ipv4_address(number: int) -> None:
    mapped = f"::ffff:{ipaddress.IPv4Address(number)}"

    assert parse_address(mapped) == Network(4, number, 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4 ",
        "1.2.3.-4",
        "1.2.3.4/32",
        "\u0661.2.3.4",
        "1.2.3.4\n",
        ":",
        "::1::",
        "fe80::1%eth0",
        "[::1]",
        "g::1",
        "0.0.0.0",
        "::",
        "1" * 10_000,
        ":" * 10_000,
    ],
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:DB8::1/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("10.0.0.0/8:443", "10.0.0.0/8:443"),
        ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
        ("2001:db8::5/128", "2001:db8::5"),
    ],
)
def test_a_network_loses_its_host_bits(text: str, canonical: str) -> None:
    assert str(parse_network(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08x",
        "0.0.0.0/0",
        "1.0.0.0/7",
        "::/0",
        "2000::/3",
        "::ffff:10.0.0.0/95",
        "2001:db8::/129",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/8:0",
        "10.0.0.0/8:65536",
        "[2001:db8::/32]",
        "[2001:db8::/32",
        "/8",
    ],
)
def test_an_impossible_or_boundless_network_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse_network(text)


def test_a_network_too_wide_for_an_indicator_can_still_be_read() -> None:
    assert read_network("224.0.0.0/4") == Network(4, 224 << 24, 4)
    assert read_network("::/0") == Network(6, 0, 0)
    assert read_network("192.0.2.1") == parse_address("192.0.2.1")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("2a02:cf40:1::5:40669", "[2a02:cf40:1::5]:40669"),
        ("2a02:cf40:1::5:443", "[2a02:cf40:1::5]:443"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
    ],
)
def test_a_port_is_found_after_every_way_to_write_an_address(text: str, canonical: str) -> None:
    assert str(parse_endpoint(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:4x",
        "192.0.2.1:+4",
        "[192.0.2.1]:443",
        "[2001:db8::1]443",
        "2001:db8::1",
        "1:2:3:4:5:6:7:8",
        ":443",
        "example.com:443",
    ],
)
def test_an_endpoint_without_an_address_and_a_port_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse_endpoint(text)


@given(number=V6, prefix=st.integers(16, 128), port=st.integers(0, 65535))
def test_a_network_is_read_back_from_its_text(number: int, prefix: int, port: int) -> None:
    network = Network(6, number >> 128 - prefix << 128 - prefix, prefix, port)
    if network.first == 0 or network.first >> 32 == 0xFFFF:
        return

    text = str(network)
    parse = parse_network if "/" in text else parse_endpoint if port else parse_address

    assert parse(text) == network
    assert network.first <= number <= network.last


@given(text=st.text() | st.text(alphabet="0123456789abcdef:.[]/%"))
def test_any_text_is_an_address_or_a_bad_value(text: str) -> None:
    for parse in (parse_address, parse_network, parse_endpoint, read_network):
        try:
            network = parse(text)
        except BadValue:
            continue
        assert network.first <= network.last
