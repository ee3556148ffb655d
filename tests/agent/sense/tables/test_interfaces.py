"""Interfaces are those of the kernel, with the addresses they hold."""

import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.tables import interfaces
from agent.sense.tables.live import is_network_of
from tests.agent.sense.tables.test_netlink import an_attribute
from tests.agent.sense.tables.views import looking_at, shown


def a_link(index: int, name: bytes, *parts: bytes, flags: int = 1) -> tuple[int, bytes]:
    head = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return 16, head + an_attribute(3, name + b"\0") + b"".join(parts)


def an_address(index: int, address: str, length: int) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    head = struct.pack("=BBBBI", family, length, 0, 0, index)
    return 20, head + an_attribute(1, socket.inet_pton(family, address))


def test_an_interface_has_its_addresses_and_its_bridge() -> None:
    master, mtu = (an_attribute(kind, struct.pack("=I", n)) for kind, n in ((10, 1), (4, 1500)))
    links = [
        a_link(1, b"br0"),
        a_link(2, b"eth0", master, mtu, an_attribute(1, b"\2\0\0\0\0\1"), flags=0x101),
    ]
    addresses = [an_address(1, "192.0.2.7", 24), an_address(1, "2001:db8::7", 64)]

    bridge, port = interfaces.interface_rows(links, addresses)

    assert bridge["addresses"] == ["192.0.2.7/24", "2001:db8::7/64"]
    assert port == {
        "index": 2,
        "name": "eth0",
        "addresses": [],
        "hardware_address": "02:00:00:00:00:01",
        "mtu": 1500,
        "master": "br0",
        "is_up": True,
        "is_loopback": False,
        "is_promiscuous": True,
    }


def test_this_host_has_a_loopback() -> None:
    if not is_network_of(HostRoot("/")):
        pytest.skip("our network is not the host's")

    rows = shown(interfaces.TABLE, looking_at(Path("/")))

    assert "lo" in {row["name"] for row in rows if row["is_loopback"]}


@given(st.binary(max_size=100))
def test_any_bytes_are_interfaces_or_none(data: bytes) -> None:
    messages = [(16, data), (20, data), a_link(1, data), an_address(1, "::1", 128)]

    for row in interfaces.interface_rows(messages, messages):
        assert set(row) == set(interfaces.TABLE.columns)
