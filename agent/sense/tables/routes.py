"""Routes of every table, and one digest of them all: a host's routes rarely change unseen.

Source: rtnetlink(7); the kernel's include/uapi/linux/rtnetlink.h.
"""

import hashlib
import ipaddress
import json
import socket
import struct
from collections.abc import Iterator
from typing import Final

from agent.sense.tables.live import is_network_of
from agent.sense.tables.netlink import NetlinkRefused, attributes, dump
from agent.sense.tables.table import Looking, Row, Table

ROUTES_MAX: Final = 1_000_000

_NETLINK_ROUTE: Final = 0
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
# rtmsg: family, lengths of destination and source, service, table, protocol, scope, type, flags.
_MESSAGE: Final = struct.Struct("=8BI")
_CLONED: Final = 0x200  # a cached answer, no route
_DST, _SRC, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _TABLE, _VIA = 1, 2, 4, 5, 6, 7, 15, 18
_NUMBER: Final = struct.Struct("=I")
_TABLES: Final = {253: "default", 254: "main", 255: "local"}
_PROTOCOLS: Final = {
    0: "unspecified", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp",
    186: "bgp", 188: "ospf",
}  # fmt: skip
_SCOPES: Final = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_TYPES: Final = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole",
    7: "unreachable", 8: "prohibit", 9: "throw", 10: "nat",
}  # fmt: skip
_FAMILIES: Final = {socket.AF_INET: ("ipv4", 4), socket.AF_INET6: ("ipv6", 16)}


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a route, then the digest."""
    if not is_network_of(looking.host):
        looking.missed("routes: our network is not the host's")
        return
    found: list[Row] = []
    try:
        for family in _FAMILIES:
            request = _MESSAGE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
            for kind, body in dump(_NETLINK_ROUTE, _RTM_GETROUTE, request):
                row = parse_route(body) if kind == _RTM_NEWROUTE else None
                if row is not None and len(found) < ROUTES_MAX:
                    found.append(row)
    except NetlinkRefused as error:
        looking.missed(f"routes: {error.message}")
    for row in found:
        row["interface"] = _interface(row.pop("index"))
        yield {"kind": "route"} | row
    if found and not looking.problems:
        yield {"kind": "digest", "count": len(found), "sha256": digest(found)}


def parse_route(body: bytes) -> Row | None:
    """Return a route of a message; None for other families, cached answers and torn ones."""
    if len(body) < _MESSAGE.size:
        return None
    family, length, _, _, table, protocol, scope, kind, flags = _MESSAGE.unpack_from(body)
    if family not in _FAMILIES or flags & _CLONED:
        return None
    name, size = _FAMILIES[family]
    found = dict(attributes(body, _MESSAGE.size))
    table = _number(found.get(_TABLE)) or table
    prefix = found.get(_DST, bytes(size))
    if len(prefix) != size or length > size * 8:
        return None
    return {
        "family": name,
        "table": _TABLES.get(table, str(table)),
        "destination": f"{ipaddress.ip_address(prefix)}/{length}",
        "gateway": _address(found.get(_GATEWAY)) or _address(found.get(_VIA, b"")[2:]),
        "index": _number(found.get(_OIF)),
        "source": _address(found.get(_PREFSRC)),
        "metric": _number(found.get(_PRIORITY)),
        "protocol": _PROTOCOLS.get(protocol, str(protocol)),
        "scope": _SCOPES.get(scope, str(scope)),
        "type": _TYPES.get(kind, str(kind)),
    }


def digest(found: list[Row]) -> str:
    """Return what two hosts, or one host at two times, have in common if their routes are equal."""
    lines = sorted(json.dumps(row, sort_keys=True) for row in found)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _interface(index: object) -> str | None:
    if not isinstance(index, int):
        return None
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)  # gone meanwhile


def _number(data: bytes | None) -> int | None:
    return _NUMBER.unpack(data)[0] if data is not None and len(data) == 4 else None


def _address(data: bytes | None) -> str | None:
    return str(ipaddress.ip_address(data)) if data is not None and len(data) in {4, 16} else None


TABLE: Final = Table(
    text="routes of every table, and one digest of them all",
    columns={
        "kind": "route, or digest for the one row that stands for all",
        "family": "ipv4 or ipv6",
        "table": "routing table",
        "destination": "addresses it is for",
        "gateway": "next hop; null for a network that is reached directly",
        "interface": "device it leaves by; null for several or none",
        "source": "address this host uses on it",
        "metric": "lower goes first; null for none",
        "protocol": "who made it",
        "scope": "how far it reaches",
        "type": "unicast, local, blackhole and the like",
        "count": "number of routes behind the digest",
        "sha256": "digest of all routes, whatever their order",
    },
    rows=rows,
    is_live=True,
    shown=(
        "kind",
        "family",
        "table",
        "destination",
        "gateway",
        "interface",
        "metric",
        "protocol",
        "sha256",
    ),
)
