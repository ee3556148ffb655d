"""The DNS message in a packet: what stands around it, taken off.

Only whole messages are read: no fragment, no extension header of IPv6, and of TCP a segment that
holds exactly one message.

Source: RFC 791, RFC 8200, RFC 768, RFC 9293; RFC 1035 section 4.2.2.
"""

import struct
from typing import ClassVar, Final, NamedTuple

from runtime.errors import Fault, VedetteError

PORT: Final = 53

_TCP: Final = 6
_UDP: Final = 17
_PORTS: Final = struct.Struct(">HH")
_SHORT: Final = struct.Struct(">H")
_FRAGMENT: Final = 0x3FFF  # more to come, or not the first
_VLAN_BYTES: Final = 4


class NoMessage(VedetteError):
    """This packet holds no message that we read."""

    fault: ClassVar[Fault] = Fault.PEER


class Segment(NamedTuple):
    """A message and between whom it goes; empty for a TCP segment that carries nothing."""

    is_tcp: bool
    source: bytes
    source_port: int
    target: bytes
    target_port: int
    message: bytes


def parse_packet(data: bytes) -> Segment:
    """Read a packet that begins with its IP header, or with a VLAN tag in front of that.

    Raises:
        NoMessage: it is none that we read.
    """
    for at in (0, _VLAN_BYTES):
        version = data[at] >> 4 if at < len(data) else 0
        if version == 4:
            return _parse_v4(data[at:])
        if version == 6:
            return _parse_v6(data[at:])
    raise NoMessage("not an IP packet")


def _parse_v4(data: bytes) -> Segment:
    head = (data[0] & 0xF) * 4
    if not 20 <= head <= len(data):
        raise NoMessage("the header is cut short")
    (total,) = _SHORT.unpack_from(data, 2)
    (fragment,) = _SHORT.unpack_from(data, 6)
    if fragment & _FRAGMENT:
        raise NoMessage("a fragment")
    if not head <= total <= len(data):
        raise NoMessage("the packet is cut short")
    return _parse_transport(data[9], data[12:16], data[16:20], data[head:total])


def _parse_v6(data: bytes) -> Segment:
    if len(data) < 40:
        raise NoMessage("the header is cut short")
    (length,) = _SHORT.unpack_from(data, 4)
    if 40 + length > len(data):
        raise NoMessage("the packet is cut short")
    return _parse_transport(data[6], data[8:24], data[24:40], data[40 : 40 + length])


def _parse_transport(protocol: int, source: bytes, target: bytes, data: bytes) -> Segment:
    if protocol == _UDP and len(data) >= 8:
        (length,) = _SHORT.unpack_from(data, 4)
        if not 8 < length <= len(data):
            raise NoMessage("a datagram of another length")
        message = data[8:length]
    elif protocol == _TCP and len(data) >= 20:
        head = (data[12] >> 4) * 4
        if not 20 <= head <= len(data):
            raise NoMessage("the header is cut short")
        message = _sole_message(data[head:])
    else:
        raise NoMessage("neither UDP nor TCP")
    source_port, target_port = _PORTS.unpack_from(data)
    return Segment(protocol == _TCP, source, source_port, target, target_port, message)


def _sole_message(data: bytes) -> bytes:
    """Return what a TCP segment carries, if it is one message and nothing more."""
    if not data:
        return b""
    if len(data) < 2 or _SHORT.unpack_from(data)[0] != len(data) - 2:
        raise NoMessage("not one whole message")
    return data[2:]
