"""Network interfaces and their addresses.

Source: rtnetlink(7); the kernel's include/uapi/linux/{if_link.h,if_addr.h}.
"""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from agent.sense.tables.live import is_network_of
from agent.sense.tables.netlink import NetlinkRefused, attributes, dump
from agent.sense.tables.table import Looking, Row, Table, as_text

INTERFACES_MAX: Final = 100_000

_NETLINK_ROUTE: Final = 0
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
# ifinfomsg: family, type, index, flags, change; ifaddrmsg: family, length, flags, scope, index.
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_LINK_ADDRESS, _LINK_NAME, _LINK_MTU, _LINK_MASTER = 1, 3, 4, 10
_ADDR_ADDRESS, _ADDR_LOCAL = 1, 2
_UP, _LOOPBACK, _PROMISCUOUS = 0x1, 0x8, 0x100
_SIZES: Final = {socket.AF_INET: 4, socket.AF_INET6: 16}

_Message = tuple[int, bytes]


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row an interface."""
    if not is_network_of(looking.host):
        looking.missed("interfaces: our network is not the host's")
        return
    try:
        links = list(dump(_NETLINK_ROUTE, _GETLINK, _LINK.pack(0, 0, 0, 0, 0)))
        addresses = list(dump(_NETLINK_ROUTE, _GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)))
    except NetlinkRefused as error:
        looking.missed(f"interfaces: {error.message}")
        return
    yield from interface_rows(links, addresses)


def interface_rows(links: Iterable[_Message], addresses: Iterable[_Message]) -> Iterator[Row]:
    """Yield the interfaces of a dump with the addresses of another."""
    held: dict[int, list[str]] = {}
    for kind, body in addresses:
        found = parse_address(body) if kind == _NEWADDR else None
        if found is not None:
            held.setdefault(found[0], []).append(found[1])
    parsed = [parse_link(body) for kind, body in links if kind == _NEWLINK]
    known = [row for row in parsed if row is not None][:INTERFACES_MAX]
    names = {row["index"]: row["name"] for row in known}
    for row in known:
        index, master = row["index"], row["master"]
        yield row | {
            "addresses": held.get(index, []) if isinstance(index, int) else [],
            "master": names.get(master, None if master is None else str(master)),
        }


def parse_link(body: bytes) -> Row | None:
    """Return an interface of a message; None for a torn one."""
    if len(body) < _LINK.size:
        return None
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body, _LINK.size))
    return {
        "index": index,
        "name": as_text(found.get(_LINK_NAME, b"").rstrip(b"\0")),
        "hardware_address": found.get(_LINK_ADDRESS, b"").hex(":") or None,
        "mtu": _number(found.get(_LINK_MTU)),
        "master": _number(found.get(_LINK_MASTER)),
        "is_up": bool(flags & _UP),
        "is_loopback": bool(flags & _LOOPBACK),
        "is_promiscuous": bool(flags & _PROMISCUOUS),
    }


def parse_address(body: bytes) -> tuple[int, str] | None:
    """Return the interface of an address and the address with its length; None for others."""
    if len(body) < _ADDRESS.size:
        return None
    family, length, _, _, index = _ADDRESS.unpack_from(body)
    found = dict(attributes(body, _ADDRESS.size))
    raw = found.get(_ADDR_LOCAL) or found.get(_ADDR_ADDRESS) or b""
    if len(raw) != _SIZES.get(family) or length > len(raw) * 8:
        return None
    return index, f"{ipaddress.ip_address(raw)}/{length}"


def _number(data: bytes | None) -> int | None:
    return int.from_bytes(data, sys.byteorder) if data is not None and len(data) == 4 else None


TABLE: Final = Table(
    text="network interfaces and their addresses",
    columns={
        "index": "number of the interface",
        "name": "its name",
        "addresses": "its addresses with their lengths",
        "hardware_address": "address of the device; null for none",
        "mtu": "largest packet",
        "master": "bridge or bond it belongs to; null for none",
        "is_up": "whether it is switched on",
        "is_loopback": "whether it leads nowhere but here",
        "is_promiscuous": "whether it takes what is meant for others",
    },
    rows=rows,
    is_live=True,
)
