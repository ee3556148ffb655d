"""One spelling for each value, the same where feeds are compiled and where hosts are matched.

A value is compared only in this form. Whatever a feed or a host holds goes in; a canonical text or
`BadValue` comes out.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from proto.content.addresses import Network, parse_address, parse_endpoint, parse_network
from proto.content.errors import BadValue, shown
from proto.content.kinds import IndicatorKind

NAME_CHARS_MAX: Final = 255
_NO_NAMES: Final = frozenset({"", ".", ".."})
_SHA256_HEX_CHARS: Final = 64
_SHA256_BYTES: Final = 32


def sha256_bytes(text: str) -> bytes:
    """Return the 32 bytes of a digest in hexadecimal, of either case.

    Raises:
        BadValue: not 64 hexadecimal digits.
    """
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise BadValue(f"{shown(text)} is not a SHA-256 in hexadecimal") from error
    if len(raw) != _SHA256_BYTES or len(text) != _SHA256_HEX_CHARS:
        raise BadValue(f"{shown(text)} is not a SHA-256: 64 hexadecimal digits")
    return raw


def file_name(text: str) -> str:
    r"""Return the last part of a path, case kept; a Windows path (``C:\a\b``) too.

    Raises:
        BadValue: empty, ``.``, ``..``, longer than a name can be, or with a NUL.
    """
    name = text.rpartition("/")[2]
    if "\\" in name and (name[1:3] == ":\\" or name[:2] == "\\\\"):
        name = name.rpartition("\\")[2]
    if name in _NO_NAMES:
        raise BadValue(f"{shown(text)} names no file")
    if len(name) > NAME_CHARS_MAX or "\0" in name:
        raise BadValue(f"{shown(text)} cannot be a file's name")
    return name


def process_name(text: str) -> str:
    """Return a process's name, case kept: a path loses its folders, as for files.

    Raises:
        BadValue: empty, longer than a name can be, or with a NUL.
    """
    return file_name(text)


def network(kind: IndicatorKind, text: str) -> Network:
    """Return the addresses, and the port if any, that a value of an address kind covers.

    What it covers may be of another kind (`network_kind`): ``::ffff:192.0.2.1`` is IPv4, a /32 is
    one address.

    Raises:
        BadValue: not a value of this kind.
    """
    found = _NETWORKS[kind](text)
    if kind is IndicatorKind.IPV4 and found.version != 4:
        raise BadValue(f"{shown(text)} is not an IPv4 address")
    if kind is IndicatorKind.IPV6 and ":" not in text:
        raise BadValue(f"{shown(text)} is not an IPv6 address")
    return found


def network_kind(network: Network) -> IndicatorKind:
    """Return the kind whose values cover just these addresses."""
    if network.first != network.last:
        return IndicatorKind.CIDR
    if network.port:
        return IndicatorKind.IP_PORT
    return IndicatorKind.IPV4 if network.version == 4 else IndicatorKind.IPV6


def address_kind(text: str) -> IndicatorKind:
    """Return which address kind a text most likely is, without checking that it is one.

    ``2001:db8::5:443`` is read as an address; only a feed that says ``ip_port`` means a port there.
    """
    if "/" in text:
        return IndicatorKind.CIDR
    if text.startswith("[") or text.count(":") == 1:
        return IndicatorKind.IP_PORT
    if ":" not in text:
        return IndicatorKind.IPV4
    tail = text.rpartition(":")[2]
    return IndicatorKind.IP_PORT if len(tail) == 5 and tail.isdigit() else IndicatorKind.IPV6


def normaliser(kind: IndicatorKind) -> Callable[[str], str]:
    """Return the function that gives a value of a kind its canonical text, or raises `BadValue`."""
    return _TEXTS[kind]


def normalise(kind: IndicatorKind, text: str) -> str:
    """Return the canonical text of a value.

    Raises:
        BadValue: not a value of this kind.
    """
    return _TEXTS[kind](text)


_NETWORKS: Final[Mapping[IndicatorKind, Callable[[str], Network]]] = MappingProxyType(
    {
        IndicatorKind.IPV4: parse_address,
        IndicatorKind.IPV6: parse_address,
        IndicatorKind.CIDR: parse_network,
        IndicatorKind.IP_PORT: parse_endpoint,
    }
)

_TEXTS: Final[Mapping[IndicatorKind, Callable[[str], str]]] = MappingProxyType(
    {
        IndicatorKind.SHA256: lambda text: sha256_bytes(text).hex(),
        IndicatorKind.IPV4: lambda text: str(network(IndicatorKind.IPV4, text)),
        IndicatorKind.IPV6: lambda text: str(network(IndicatorKind.IPV6, text)),
        IndicatorKind.CIDR: lambda text: str(network(IndicatorKind.CIDR, text)),
        IndicatorKind.IP_PORT: lambda text: str(network(IndicatorKind.IP_PORT, text)),
        IndicatorKind.FILE_NAME: file_name,
        IndicatorKind.PROCESS_NAME: process_name,
    }
)
