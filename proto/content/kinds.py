"""The kinds of indicator, and how the index keeps each.

An *exact* kind is one text or digest and has a table of fingerprints of its own, named in the file
by ``code``. The *address* kinds share the sorted ranges. Codes are never given twice; 15 to 63 wait
for kinds to come.

Two kinds hold for more than their own value: a ``domain`` for every name below it (a ``hostname``
only for itself), a ``url_prefix`` for every path below it.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct


class IndicatorKind(enum.StrEnum):
    """What an indicator describes; a ``str`` so that looking one up costs no Python call."""

    SHA256 = "sha256"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    CIDR = "cidr"
    IP_PORT = "ip_port"
    FILE_NAME = "file_name"
    PROCESS_NAME = "process_name"
    MD5 = "md5"
    SHA1 = "sha1"
    DOMAIN = "domain"
    HOSTNAME = "hostname"
    URL = "url"
    URL_PREFIX = "url_prefix"
    FILE_PATH = "file_path"
    EMAIL = "email"
    JA3 = "ja3"
    JA4 = "ja4"
    MUTEX = "mutex"


class Shape(enum.Enum):
    """How values of a kind are compared."""

    DIGEST = "digest"
    TEXT = "text"
    ADDRESS = "address"


class KindSpec(Struct, frozen=True):
    """One line of the table of kinds; ``code`` is 0 where ranges hold the values."""

    kind: IndicatorKind
    shape: Shape
    code: int = 0
    digest_bytes: int = 0


_SPECS: Final = (
    KindSpec(IndicatorKind.SHA256, Shape.DIGEST, code=1, digest_bytes=32),
    KindSpec(IndicatorKind.FILE_NAME, Shape.TEXT, code=2),
    KindSpec(IndicatorKind.PROCESS_NAME, Shape.TEXT, code=3),
    KindSpec(IndicatorKind.MD5, Shape.DIGEST, code=4, digest_bytes=16),
    KindSpec(IndicatorKind.SHA1, Shape.DIGEST, code=5, digest_bytes=20),
    KindSpec(IndicatorKind.DOMAIN, Shape.TEXT, code=6),
    KindSpec(IndicatorKind.HOSTNAME, Shape.TEXT, code=7),
    KindSpec(IndicatorKind.URL, Shape.TEXT, code=8),
    KindSpec(IndicatorKind.URL_PREFIX, Shape.TEXT, code=9),
    KindSpec(IndicatorKind.FILE_PATH, Shape.TEXT, code=10),
    KindSpec(IndicatorKind.EMAIL, Shape.TEXT, code=11),
    KindSpec(IndicatorKind.JA3, Shape.DIGEST, code=12, digest_bytes=16),
    KindSpec(IndicatorKind.JA4, Shape.TEXT, code=13),
    KindSpec(IndicatorKind.MUTEX, Shape.TEXT, code=14),
    KindSpec(IndicatorKind.IPV4, Shape.ADDRESS),
    KindSpec(IndicatorKind.IPV6, Shape.ADDRESS),
    KindSpec(IndicatorKind.CIDR, Shape.ADDRESS),
    KindSpec(IndicatorKind.IP_PORT, Shape.ADDRESS),
)

KINDS: Final[Mapping[IndicatorKind, KindSpec]] = MappingProxyType(
    {spec.kind: spec for spec in _SPECS}
)
