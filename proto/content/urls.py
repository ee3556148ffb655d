"""URLs in one spelling, and what of a URL that was seen is asked for.

Scheme and host in lower case, no user, no default port, no fragment; percent-encoding only where it
is needed, in upper case; no ``.`` and ``..`` in the path. ``hxxp``, ``[:]`` and ``[.]`` are read as
what they hide. A URL without a scheme is read as ``http``.

Source: RFC 3986 sections 5.2.4 and 6.2.2; inet_aton(3) for the ways to write an IPv4 address.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from proto.content.addresses import PORT_MAX, address_number, address_text
from proto.content.domains import DOMAIN_CHARS_MAX, host_label, refanged
from proto.content.errors import BadValue, shown

URL_CHARS_MAX: Final = 4096
SCHEME_CHARS_MAX: Final = 16
# Of a path of more segments the first ones and the whole are asked for.
PREFIXES_MAX: Final = 16
_PORTS: Final[Mapping[str, str]] = MappingProxyType(
    {"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}
)
_FANGED: Final[Mapping[str, str]] = MappingProxyType(
    {"hxxp": "http", "hxxps": "https", "h**p": "http", "h**ps": "https", "fxp": "ftp"}
)
_SCHEME_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+.-")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_ADDRESS_PARTS: Final = 4
# What is spelt so already, as most of what hosts and feeds hold; no port or escape in it.
_PLAIN: Final = re.compile(
    r"([a-z]{2,16})://((?:[a-z0-9_-]{1,63}\.)+[a-z]{1,63})"
    r"(/[A-Za-z0-9_~!$&'()*+,;=:@/.-]*+)(\?[A-Za-z0-9_~!$&'()*+,;=:@/?.-]*+)?",
    re.ASCII,
)


class Url(Struct, frozen=True, gc=False):
    """A URL taken apart, each part in its one spelling, and ``text``, all of it.

    ``port`` is 0 where it is the scheme's own; ``is_address`` tells whether the host is one.
    """

    text: str

    scheme: str
    host: str
    port: int
    path: str
    query: str
    is_address: bool = False

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return _origin(self.scheme, self.host, self.port)

    @property
    def service_port(self) -> int | None:
        """The port that is connected to; None for a scheme that has none of its own."""
        own = _PORTS.get(self.scheme)
        return self.port or (int(own) if own else None)

    def prefixes(self) -> Iterator[str]:
        """Yield what a ``url_prefix`` that holds here would be, the shortest first."""
        origin, path = self.origin, self.path.rstrip("/")
        yield origin
        at = 0
        for _ in range(PREFIXES_MAX):
            at = path.find("/", at + 1)
            if at < 0:
                break
            yield origin + path[:at]
        if path:
            yield origin + path


def url(text: str) -> str:
    """Return a URL in its one spelling.

    Raises:
        BadValue: not a URL with a host.
    """
    return text if plain_url(text) else parse_url(text).text


def url_prefix(text: str) -> str:
    """Return the spelling of a URL that stands for all below it, without a slash at its end.

    Raises:
        BadValue: not a URL, or one with a query.
    """
    found = parse_url(text)
    if found.query:
        raise BadValue(f"{shown(text)} has a query: nothing lies below it")
    return found.origin + found.path.rstrip("/")


def parse_url(text: str) -> Url:
    """Return the parts of a URL.

    Raises:
        BadValue: not a URL with a host, or too long.
    """
    if plain := plain_url(text):
        scheme, host, path, query = plain.groups("")
        return Url(text, scheme, host, 0, path, query)
    whole = text.strip()
    if len(whole) > URL_CHARS_MAX:
        raise BadValue(f"{shown(whole)} is longer than {URL_CHARS_MAX} characters")
    if not whole.isprintable() or " " in whole:
        raise BadValue(f"{shown(whole)} holds a space or a control character")
    scheme, rest = _split_scheme(whole)
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    host, port, is_address = _authority(rest[:end], scheme, whole)
    path, mark, query = rest[end:].partition("#")[0].partition("?")
    path, query = _path(path), mark + _escaped(query)
    spelt = _origin(scheme, host, port) + path + query
    return Url(spelt, scheme, host, port, path, query, is_address)


def _origin(scheme: str, host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}" if port else f"{scheme}://{name}"


def plain_url(text: str) -> re.Match[str] | None:
    """Return the parts of a URL that surely is in its one spelling; its host is the second."""
    found = _PLAIN.fullmatch(text) if len(text) <= URL_CHARS_MAX else None
    if found and ("/." in text or len(found[2]) > DOMAIN_CHARS_MAX or found[1] in _FANGED):
        return None
    return found


def _split_scheme(text: str) -> tuple[str, str]:
    head, mark, rest = text.partition("://")
    if "[:" in text[: SCHEME_CHARS_MAX + 4]:
        fanged = text.replace("[://]", "://", 1).replace("[:]//", "://", 1)
        head, mark, rest = fanged.partition("://")
    if not mark or "/" in head or "?" in head or "#" in head:
        return "http", text
    scheme = head.lower()
    scheme = _FANGED.get(scheme, scheme)
    is_scheme = 0 < len(scheme) <= SCHEME_CHARS_MAX and _SCHEME_CHARS.issuperset(scheme)
    if not is_scheme or not scheme[0].isalpha():
        raise BadValue(f"{shown(text)} has an impossible scheme")
    return scheme, rest


def _authority(text: str, scheme: str, whole: str) -> tuple[str, int, bool]:
    host = refanged(text.replace("[@]", "@")).rpartition("@")[2]
    head, colon, port = host.rpartition(":")
    if colon and "]" not in port:
        host = head
    else:
        port = ""
    if not host or (port and not (port.isascii() and port.isdecimal() and len(port) <= 5)):
        raise BadValue(f"{shown(whole)} has no host, or an impossible port")
    number = int(port or 0)
    if number > PORT_MAX:
        raise BadValue(f"{shown(whole)} has an impossible port")
    own = number == int(_PORTS.get(scheme, "0"))
    name, is_address = _host(host)
    return name, 0 if own else number, is_address


def _host(text: str) -> tuple[str, bool]:
    """Return a host's spelling and whether it is an address.

    Raises:
        BadValue: neither a name nor an address.
    """
    if text.startswith("[") and text.endswith("]"):
        if ":" not in text:
            raise BadValue(f"{shown(text)} is not an IPv6 address")
        return address_text(*address_number(text[1:-1])), True
    number = _aton(_unescaped(text).removesuffix("."))
    if number is not None:
        return address_text(4, number), True
    return host_label(_unescaped(text)), False


def _unescaped(text: str) -> str:
    if "%" not in text:
        return text
    out = _escaped(text)
    if "%" not in out:
        return out
    raw = bytearray()
    head, *parts = out.split("%")
    raw += head.encode()
    for part in parts:
        raw += bytes.fromhex(part[:2]) + part[2:].encode()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadValue(f"{shown(text)} is not a host") from error


def _aton(text: str) -> int | None:
    """Return the number of an IPv4 address in any way that resolvers take; None for a name."""
    parts = text.split(".")
    if not text.isascii() or len(parts) > _ADDRESS_PARTS or not parts[-1][:1].isdigit():
        return None
    numbers = [_number(part) for part in parts]
    if None in numbers:
        return None
    *heads, last = [number or 0 for number in numbers]
    if any(head > 255 for head in heads) or last >= 1 << 8 * (_ADDRESS_PARTS - len(heads)):
        raise BadValue(f"{shown(text)} is not an IPv4 address")
    for place, head in enumerate(heads):
        last |= head << 8 * (_ADDRESS_PARTS - 1 - place)
    return last


def _number(text: str) -> int | None:
    if len(text) > SCHEME_CHARS_MAX:
        return None
    try:
        if text[:2].lower() == "0x":
            return int(text[2:] or "0", 16) if _HEX.issuperset(text[2:]) else None
        if not text.isdecimal():
            return None
        return int(text, 8) if text[0] == "0" else int(text)
    except ValueError:
        return None


def _path(text: str) -> str:
    path = _escaped(text)
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    is_folder = segments[-1] in {".", ".."} and (not kept or kept[-1] != "")
    return "/" + "/".join(kept) + ("/" if is_folder and kept else "")


def _escaped(text: str) -> str:
    """Return a text with percent-encoding where it is needed and only there."""
    if not text.isascii():
        text = "".join(
            char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode())
            for char in text
        )
    if "%" not in text:
        return text
    head, *parts = text.split("%")
    out = [head]
    for part in parts:
        if len(part) < 2 or not _HEX.issuperset(part[:2]):
            out.append("%25" + part)
            continue
        char = chr(int(part[:2], 16))
        out.append((char if char in _UNRESERVED else f"%{part[:2].upper()}") + part[2:])
    return "".join(out)
