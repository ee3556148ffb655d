"""Addresses, networks and ports as numbers, from any of the ways people write them.

An IPv4 address inside IPv6 (``::ffff:192.0.2.1``) is that IPv4 address: sockets show it both ways.
Zones (``%eth0``) name an interface of one host and are refused.

Source: RFC 4291 section 2.2 and 2.5.5.2; RFC 5952.
"""

import ipaddress
from typing import Final

from msgspec import Struct

from proto.content.errors import BadValue, shown

PORT_MAX: Final = 65_535
# Wider networks than these are mistakes or sabotage: they would match a good part of the internet.
PREFIX_V4_MIN: Final = 8
PREFIX_V6_MIN: Final = 16

_BITS_V4: Final = 32
_BITS_V6: Final = 128
_MAPPED_PREFIX: Final = 96
_MAPPED: Final = 0xFFFF
_TEXT_CHARS_MAX: Final = 64
_OCTETS: Final = {str(number): number for number in range(256)}
_DIGITS: Final = frozenset("0123456789")


class Network(Struct, frozen=True):
    """All addresses with the first ``prefix`` bits of ``first``; ``port`` is 0 for any port."""

    version: int
    first: int
    prefix: int
    port: int = 0

    @property
    def last(self) -> int:
        """The highest address of the network."""
        return self.first | (1 << (_bits(self.version) - self.prefix)) - 1

    def __str__(self) -> str:
        """``192.0.2.1``, ``192.0.2.0/24``, ``192.0.2.1:443``, ``[2001:db8::1]:443``."""
        text = address_text(self.version, self.first)
        if self.prefix != _bits(self.version):
            text = f"{text}/{self.prefix}"
        if not self.port:
            return text
        return f"[{text}]:{self.port}" if self.version == 6 else f"{text}:{self.port}"


def ipv4_number(text: str) -> int:
    """Return the number of a dotted quad.

    Raises:
        BadValue: not four decimal numbers of 0 to 255 without leading zeros.
    """
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
    except (ValueError, KeyError) as error:
        raise BadValue(f"{shown(text)} is not an IPv4 address") from error


def address_number(text: str) -> tuple[int, int]:
    """Return (version, number) of an address of either version.

    Raises:
        BadValue: it is not an address, or has a zone.
    """
    if ":" not in text:
        return 4, ipv4_number(text)
    try:
        address = ipaddress.IPv6Address(text if len(text) <= _TEXT_CHARS_MAX else "")
    except ValueError as error:
        raise BadValue(f"{shown(text)} is not an IPv6 address") from error
    if address.scope_id is not None:
        raise BadValue(f"{shown(text)} names an interface of one host")
    number = int(address)
    return (4, number & 0xFFFFFFFF) if number >> 32 == _MAPPED else (6, number)


def address_text(version: int, number: int) -> str:
    """Return the canonical text of an address."""
    if version == 4:
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return str(ipaddress.IPv6Address(number))


def masked(version: int, number: int, prefix: int) -> int:
    """Return the first address of the network of ``prefix`` bits around an address."""
    width = _bits(version) - prefix
    return number >> width << width


def parse_address(text: str) -> Network:
    """Return one address as a network of one.

    Raises:
        BadValue: not an address, or the unspecified one.
    """
    version, number = address_number(text)
    return _checked(Network(version, number, _bits(version)), text)


def parse_network(text: str) -> Network:
    """Return ``address/prefix``, with host bits cleared; a port may follow (``/24:443``).

    Raises:
        BadValue: not a network, or wider than an indicator can be.
    """
    if "/" not in text:
        raise BadValue(f"{shown(text)} has no prefix length")
    return _checked(read_network(text), text)


def read_network(text: str) -> Network:
    """Return a network of any width, or one address; not every one can be an indicator.

    Raises:
        BadValue: neither a network nor an address.
    """
    body, port = _split_network_port(text)
    address, slash, length = body.partition("/")
    version, number = address_number(address)
    prefix = _decimal(length, _BITS_V6, text) if slash else _bits(version)
    if slash and version == 4 and ":" in address:
        prefix -= _MAPPED_PREFIX
    if not 0 <= prefix <= _bits(version):
        raise BadValue(f"{shown(text)} has an impossible prefix length")
    return Network(version, masked(version, number, prefix), prefix, port)


def parse_endpoint(text: str) -> Network:
    """Return an address with a port.

    A port may follow an IPv6 address without brackets, as some feeds write it: what stands after
    the last colon is then always the port.

    Raises:
        BadValue: not an address with a port of 1 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        colon = colon if ":" in host else ""
    if not colon:
        raise BadValue(f"{shown(text)} is not an address with a port")
    version, number = address_number(host)
    network = Network(version, number, _bits(version), _port(port, text))
    return _checked(network, text)


def _split_network_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        body, bracket, port = text[1:].rpartition("]:")
        if bracket:
            return body, _port(port, text)
    head, slash, tail = text.rpartition("/")
    if slash and ":" in tail:
        length, _, port = tail.partition(":")
        return f"{head}/{length}", _port(port, text)
    return text, 0


def _checked(network: Network, text: str) -> Network:
    if network.prefix < (PREFIX_V4_MIN if network.version == 4 else PREFIX_V6_MIN):
        raise BadValue(f"{shown(text)} is wider than an indicator can be")
    if network.first == 0 and network.prefix == _bits(network.version):
        raise BadValue("the unspecified address is no indicator")
    return network


def _port(text: str, whole: str) -> int:
    port = _decimal(text, PORT_MAX, whole)
    if port == 0:
        raise BadValue(f"{shown(whole)} has port 0")
    return port


def _decimal(text: str, largest: int, whole: str) -> int:
    if 0 < len(text) <= 5 and _DIGITS.issuperset(text) and int(text) <= largest:
        return int(text)
    raise BadValue(f"{shown(whole)} holds an impossible number")


def _bits(version: int) -> int:
    return _BITS_V4 if version == 4 else _BITS_V6
