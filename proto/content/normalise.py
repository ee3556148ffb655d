"""One spelling for each value, the same where feeds are compiled and where hosts are matched.

A value is compared only in this form. Whatever a feed or a host holds goes in; a canonical text or
`BadValue` comes out.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from proto.content.addresses import Network, parse_address, parse_endpoint, parse_network
from proto.content.domains import domain, hostname, refanged
from proto.content.errors import BadValue, shown
from proto.content.kinds import KINDS, IndicatorKind, KindSpec, Shape
from proto.content.urls import url, url_prefix

NAME_CHARS_MAX: Final = 255
PATH_CHARS_MAX: Final = 4096
_LOCAL_CHARS_MAX: Final = 64
_NO_NAMES: Final = frozenset({"", ".", ".."})
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_DOTTED: Final = frozenset("0123456789.")
_DIGESTS: Final[Mapping[int, IndicatorKind]] = MappingProxyType(
    {32: IndicatorKind.MD5, 40: IndicatorKind.SHA1, 64: IndicatorKind.SHA256}
)
_JA4: Final = re.compile(r"[a-z0-9]{10}_[0-9a-f]{12}_[0-9a-f]{12}", re.ASCII)


def digest_bytes(spec: KindSpec, text: str) -> bytes:
    """Return the bytes of a digest in hexadecimal, of either case.

    Raises:
        BadValue: not the hexadecimal digits of this kind of digest.
    """
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise BadValue(f"{shown(text)} is not a {spec.kind.value} in hexadecimal") from error
    if len(raw) != spec.digest_bytes or len(text) != 2 * spec.digest_bytes:
        digits = 2 * spec.digest_bytes
        raise BadValue(f"{shown(text)} is not a {spec.kind.value}: {digits} hexadecimal digits")
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


def file_path(text: str) -> str:
    r"""Return an absolute path, case kept, without ``//``, ``/./`` and ``/../``.

    A Windows path (``C:\a``) is kept as it stands.

    Raises:
        BadValue: relative, of the root itself, longer than a path can be, or with a NUL.
    """
    if len(text) > PATH_CHARS_MAX or "\0" in text:
        raise BadValue(f"{shown(text)} cannot be a file's path")
    if not text.startswith("/"):
        if text[1:3] == ":\\" or text.startswith("\\\\"):
            return text
        raise BadValue(f"{shown(text)} is not an absolute path")
    if "//" not in text and "/." not in text and text[-1] != "/":
        return text
    kept: list[str] = []
    for part in text.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in _NO_NAMES:
            kept.append(part)
    if not kept:
        raise BadValue(f"{shown(text)} is the root")
    return "/" + "/".join(kept)


def email(text: str) -> str:
    """Return a mail address in lower case.

    Raises:
        BadValue: not one.
    """
    whole = text.strip().removeprefix("mailto:")
    for mark in ("[@]", "(@)", "[at]", "(at)"):
        whole = whole.replace(mark, "@")
    local, _, host = whole.rpartition("@")
    local = local.lower()
    is_plain = local.isprintable() and not {" ", "@", "[", "("} & set(local)
    if not 0 < len(local) <= _LOCAL_CHARS_MAX or not is_plain or local.startswith("mailto:"):
        raise BadValue(f"{shown(text)} is not a mail address")
    return f"{local}@{hostname(host)}"


def ja4(text: str) -> str:
    """Return a JA4 fingerprint of a TLS client in lower case.

    Raises:
        BadValue: not one.
    """
    word = text.strip().lower()
    if not _JA4.fullmatch(word):
        raise BadValue(f"{shown(text)} is not a JA4 fingerprint")
    return word


def mutex(text: str) -> str:
    """Return the name of a mutex, lock or similar as it stands.

    Raises:
        BadValue: empty, too long, or with a NUL.
    """
    if not text or len(text) > NAME_CHARS_MAX or "\0" in text:
        raise BadValue(f"{shown(text)} cannot be the name of a mutex")
    return text


def network(kind: IndicatorKind, text: str) -> Network:
    """Return the addresses, and the port if any, that a value of an address kind covers.

    What it covers may be of another kind (`network_kind`): ``::ffff:192.0.2.1`` is IPv4, a /32 is
    one address.

    Raises:
        BadValue: not a value of this kind.
    """
    found = _NETWORKS[kind](refanged(text.strip()))
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


def likely_kind(text: str) -> IndicatorKind:
    """Return which kind a text of an unsaid kind most likely is, without checking that it is one.

    A name is told from an address, a URL by its scheme or path, a digest by its length.
    """
    if "://" in text or "[:" in text:
        return IndicatorKind.URL
    if len(text) in _DIGESTS and _HEX.issuperset(text):
        return _DIGESTS[len(text)]
    if "@" in text:
        return IndicatorKind.EMAIL
    plain = refanged(text)
    head, slash, tail = plain.partition("/")
    if slash and not tail.isdecimal():
        return IndicatorKind.URL
    if head.count(":") > 1 or head.startswith("[") or _DOTTED.issuperset(head.partition(":")[0]):
        return address_kind(plain)
    return IndicatorKind.DOMAIN


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


def _of_digests(spec: KindSpec) -> Callable[[str], str]:
    return lambda text: digest_bytes(spec, text).hex()


def _of_addresses(kind: IndicatorKind) -> Callable[[str], str]:
    return lambda text: str(network(kind, text))


_TEXTS: Final[Mapping[IndicatorKind, Callable[[str], str]]] = MappingProxyType(
    {
        **{k: _of_digests(spec) for k, spec in KINDS.items() if spec.shape is Shape.DIGEST},
        **{k: _of_addresses(k) for k, spec in KINDS.items() if spec.shape is Shape.ADDRESS},
        IndicatorKind.FILE_NAME: file_name,
        IndicatorKind.PROCESS_NAME: process_name,
        IndicatorKind.DOMAIN: domain,
        IndicatorKind.HOSTNAME: hostname,
        IndicatorKind.URL: url,
        IndicatorKind.URL_PREFIX: url_prefix,
        IndicatorKind.FILE_PATH: file_path,
        IndicatorKind.EMAIL: email,
        IndicatorKind.JA4: ja4,
        IndicatorKind.MUTEX: mutex,
    }
)
