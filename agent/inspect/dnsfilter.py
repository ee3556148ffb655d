"""The filter in the kernel that lets a packet socket see port 53 and nothing else.

Classic BPF, over packets that begin with their network header. A tag of a VLAN has mostly been
taken off by then; where one is left it is stepped over. Packets for other hosts are left out, and
of the two sights of a packet on loopback the first.

Source: the kernel's Documentation/networking/filter.rst and include/uapi/linux/filter.h.
"""

import struct
from typing import Final

_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD_BYTE: Final = 0x30
_LOAD_HALF: Final = 0x28
_LOAD_HALF_AT_X: Final = 0x48
_LOAD_WORD: Final = 0x20
_LOAD_X_HEADER: Final = 0xB1  # X = 4 * (byte & 0xf), the length of an IPv4 header
_AND: Final = 0x54
_JUMP_EQUAL: Final = 0x15
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ABOUT: Final = 0xFFFFF000  # what the kernel knows of a packet besides its bytes
_PROTOCOL: Final = _ABOUT
_PACKET_TYPE: Final = _ABOUT + 4
_HARDWARE: Final = _ABOUT + 28
_OTHER_HOST: Final = 3
_OUTGOING: Final = 4
_LOOPBACK: Final = 772
_VLAN: Final = (0x8100, 0x88A8)
_NOT_FIRST_FRAGMENT: Final = 0x1FFF
_UDP_AND_TCP: Final = (17, 6)
_DNS: Final = 53
_TAKEN_BYTES: Final = 0xFFFF

# Code, number, where to go if it is so and if not: names of places, empty for the next line.
Line = tuple[int, int, str, str]


def dns_filter() -> bytes:
    """Return the program as the kernel reads it."""
    lines: list[tuple[str, Line]] = [
        ("", (_LOAD_WORD, _PACKET_TYPE, "", "")),
        ("", (_JUMP_EQUAL, _OTHER_HOST, "drop", "")),
        ("", (_JUMP_EQUAL, _OUTGOING, "", "0")),
        ("", (_LOAD_WORD, _HARDWARE, "", "")),
        ("", (_JUMP_EQUAL, _LOOPBACK, "drop", "0")),
        *_at(0, "tag"),
        ("tag", (_LOAD_WORD, _PROTOCOL, "", "")),
        ("", (_JUMP_EQUAL, _VLAN[0], "4", "")),
        ("", (_JUMP_EQUAL, _VLAN[1], "4", "drop")),
        *_at(4, "drop"),
        ("take", (_RETURN, _TAKEN_BYTES, "", "")),
        ("drop", (_RETURN, 0, "", "")),
    ]
    return _assembled(lines)


def _at(base: int, otherwise: str) -> list[tuple[str, Line]]:
    """Return the lines that look for port 53 in a packet that begins at ``base``."""
    udp, tcp = _UDP_AND_TCP
    four, six = f"{base}v4", f"{base}v6"
    return [
        (f"{base}", (_LOAD_BYTE, base, "", "")),
        ("", (_AND, 0xF0, "", "")),
        ("", (_JUMP_EQUAL, 0x40, four, "")),
        ("", (_JUMP_EQUAL, 0x60, six, otherwise)),
        (four, (_LOAD_HALF, base + 6, "", "")),
        ("", (_JUMP_ANY_BIT, _NOT_FIRST_FRAGMENT, otherwise, "")),
        ("", (_LOAD_BYTE, base + 9, "", "")),
        ("", (_JUMP_EQUAL, udp, f"{four}ports", "")),
        ("", (_JUMP_EQUAL, tcp, "", otherwise)),
        (f"{four}ports", (_LOAD_X_HEADER, base, "", "")),
        ("", (_LOAD_HALF_AT_X, base, "", "")),
        ("", (_JUMP_EQUAL, _DNS, "take", "")),
        ("", (_LOAD_HALF_AT_X, base + 2, "", "")),
        ("", (_JUMP_EQUAL, _DNS, "take", otherwise)),
        (six, (_LOAD_BYTE, base + 6, "", "")),
        ("", (_JUMP_EQUAL, udp, f"{six}ports", "")),
        ("", (_JUMP_EQUAL, tcp, "", otherwise)),
        (f"{six}ports", (_LOAD_HALF, base + 40, "", "")),
        ("", (_JUMP_EQUAL, _DNS, "take", "")),
        ("", (_LOAD_HALF, base + 42, "", "")),
        ("", (_JUMP_EQUAL, _DNS, "take", otherwise)),
    ]


def _assembled(lines: list[tuple[str, Line]]) -> bytes:
    places = {name: number for number, (name, _) in enumerate(lines) if name}
    code = b""
    for number, (_, (operation, value, if_so, if_not)) in enumerate(lines):
        so, no = (places[to] - number - 1 if to else 0 for to in (if_so, if_not))
        code += _INSTRUCTION.pack(operation, so, no, value)
    return code
