"""The kinds of indicator, and how the index keeps each.

An *exact* kind is one text or digest and has a table of fingerprints of its own, named in the file
by ``code``. The *address* kinds share the sorted ranges. Codes are never given twice; 4 to 63 wait
for the kinds to come (md5, sha1, domain, url, file path, e-mail, ja3, ja4, mutex).
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
    KindSpec(IndicatorKind.IPV4, Shape.ADDRESS),
    KindSpec(IndicatorKind.IPV6, Shape.ADDRESS),
    KindSpec(IndicatorKind.CIDR, Shape.ADDRESS),
    KindSpec(IndicatorKind.IP_PORT, Shape.ADDRESS),
)

KINDS: Final[Mapping[IndicatorKind, KindSpec]] = MappingProxyType(
    {spec.kind: spec for spec in _SPECS}
)
