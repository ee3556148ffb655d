"""DNS messages and the packets around them, by hand."""

import socket
import struct
from collections.abc import Sequence

A, CNAME, MX, TXT, AAAA, SRV, HTTPS = 1, 5, 15, 16, 28, 33, 65
HERE, SERVER = "192.0.2.10", "192.0.2.53"
HERE6, SERVER6 = "2001:db8::10", "2001:db8::53"


def packed_name(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def a_query(name: str = "www.example.org", qtype: int = A, number: int = 7) -> bytes:
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
    return head + packed_name(name) + struct.pack(">HH", qtype, 1)


def a_record(kind: int, value: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack(">HHIH", kind, 1, 60, len(value)) + value


def an_answer(
    *records: bytes,
    name: str = "www.example.org",
    qtype: int = A,
    number: int = 7,
    flags: int = 0x8180,
    count: int | None = None,
) -> bytes:
    total = len(records) if count is None else count
    head = struct.pack(">HHHHHH", number, flags, 1, total, 0, 0)
    return head + packed_name(name) + struct.pack(">HH", qtype, 1) + b"".join(records)


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def udp(payload: bytes, ports: tuple[int, int] = (40_000, 53)) -> bytes:
    return struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload


def tcp(payload: bytes, ports: tuple[int, int] = (40_000, 53)) -> bytes:
    return struct.pack(">HHIIBBHHH", *ports, 1, 1, 5 << 4, 0x18, 512, 0, 0) + payload


def ipv4(
    transport: bytes,
    protocol: int = 17,
    ends: Sequence[str] = (HERE, SERVER),
    *,
    options: bytes = b"",
    fragment: int = 0,
) -> bytes:
    size = 20 + len(options) + len(transport)
    head = struct.pack(
        ">BBHHHBBH", 0x40 | 5 + len(options) // 4, 0, size, 1, fragment, 64, protocol, 0
    )
    return head + address(ends[0]) + address(ends[1]) + options + transport


def ipv6(transport: bytes, protocol: int = 17, ends: Sequence[str] = (HERE6, SERVER6)) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64)
    return head + address(ends[0]) + address(ends[1]) + transport


def tagged(packet: bytes) -> bytes:
    """With a VLAN tag left in front, as behind another tag."""
    return struct.pack(">HH", 0x0064, 0x0800) + packet
