"""Routes are those of the kernel; one digest stands for all, whatever their order."""

import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.tables import routes
from agent.sense.tables.live import is_network_of
from tests.agent.sense.tables.test_netlink import an_attribute
from tests.agent.sense.tables.views import looking_at, shown


def a_route(family: int, length: int, *parts: bytes, flags: int = 0) -> bytes:
    return struct.pack("=8BI", family, length, 0, 0, 254, 4, 0, 1, flags) + b"".join(parts)


def test_a_route_has_destination_gateway_and_metric() -> None:
    row = routes.parse_route(
        a_route(
            socket.AF_INET,
            24,
            an_attribute(1, b"\xc0\0\2\0"),
            an_attribute(5, b"\xc0\0\2\1"),
            an_attribute(4, struct.pack("=I", 2)),
            an_attribute(6, struct.pack("=I", 100)),
        )
    )

    assert row == {
        "family": "ipv4",
        "table": "main",
        "destination": "192.0.2.0/24",
        "gateway": "192.0.2.1",
        "index": 2,
        "source": None,
        "metric": 100,
        "protocol": "static",
        "scope": "global",
        "type": "unicast",
    }


def test_a_default_route_has_no_destination_of_its_own() -> None:
    row = routes.parse_route(a_route(socket.AF_INET6, 0, an_attribute(15, struct.pack("=I", 777))))

    assert row is not None
    assert (row["destination"], row["table"]) == ("::/0", "777")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        a_route(socket.AF_INET, 33),
        a_route(socket.AF_UNIX, 0),
        a_route(socket.AF_INET, 24, an_attribute(1, b"\xc0\0")),
        a_route(socket.AF_INET, 0, flags=0x200),
    ],
)
def test_what_is_no_route_is_passed_over(body: bytes) -> None:
    assert routes.parse_route(body) is None


def test_the_digest_knows_no_order_and_every_change() -> None:
    one, two = {"destination": "a"}, {"destination": "b"}

    assert routes.digest([one, two]) == routes.digest([two, one])  # type: ignore[list-item]
    assert routes.digest([one]) != routes.digest([two])  # type: ignore[list-item]


def test_another_hosts_routes_are_not_told_as_ours(tmp_path: Path) -> None:
    for number in ("1", "self"):
        (tmp_path / f"proc/{number}/net").mkdir(parents=True)
        (tmp_path / f"proc/{number}/net/dev").touch()
    looking = looking_at(tmp_path)

    assert shown(routes.TABLE, looking) == []
    assert looking.problems


def test_this_host_shows_its_loopback_and_a_digest() -> None:
    if not is_network_of(HostRoot("/")):
        pytest.skip("our network is not the host's")

    *found, digest = shown(routes.TABLE, looking_at(Path("/")))

    assert "127.0.0.0/8" in {row["destination"] for row in found}
    assert (digest["kind"], digest["count"]) == ("digest", len(found))


@given(st.binary(max_size=100), st.sampled_from([socket.AF_INET, socket.AF_INET6]))
def test_any_bytes_are_a_route_or_none(data: bytes, family: int) -> None:
    for body in (data, bytes([family]) + data):
        row = routes.parse_route(body)
        assert row is None or isinstance(row["destination"], str)
