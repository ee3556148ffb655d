"""Indicators and index files for the tests of content."""

import hashlib
from collections.abc import Iterable

from proto.content.build import IndexBuilder
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from proto.content.layout import Release
from proto.content.records import NS_PER_HOUR, Provenance
from proto.model import Tlp

DAY_NS = 24 * NS_PER_HOUR
BUILT_AT = 1_790_000_000 * 10**9
EICAR = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"

Row = tuple[IndicatorKind, str, Provenance]


def a_release(version: int = 7, **changes: object) -> Release:
    values: dict[str, object] = {
        "version": version,
        "built_at": BUILT_AT,
        "salt": b"s" * 16,
        "source": b"f" * 32,
    }
    return Release(**(values | changes))  # type: ignore[arg-type]


def a_provenance(feed: str = "testfeed", **changes: object) -> Provenance:
    values: dict[str, object] = {
        "family": "Mirai",
        "confidence": 80,
        "tlp": Tlp.GREEN,
        "first_seen": BUILT_AT // DAY_NS * DAY_NS - 30 * DAY_NS,
        "expires": BUILT_AT // DAY_NS * DAY_NS + 30 * DAY_NS,
        "attack": "T1071.001",
    }
    return Provenance(feed=feed, **(values | changes))  # type: ignore[arg-type]


def some_rows() -> list[Row]:
    plain = a_provenance()
    return [
        (IndicatorKind.SHA256, EICAR, plain),
        (IndicatorKind.SHA256, hashlib.sha256(b"other").hexdigest(), a_provenance("second")),
        (IndicatorKind.FILE_NAME, "kdevtmpfsi", plain),
        (IndicatorKind.PROCESS_NAME, "xmrig", plain),
        (IndicatorKind.IPV4, "192.0.2.1", plain),
        (IndicatorKind.CIDR, "192.0.2.0/24", a_provenance("wide")),
        (IndicatorKind.IP_PORT, "192.0.2.1:4444", a_provenance("c2")),
        (IndicatorKind.IPV6, "2001:db8::1", plain),
        (IndicatorKind.CIDR, "2001:db8::/32", a_provenance("wide")),
        (IndicatorKind.DOMAIN, "evil.example", plain),
        (IndicatorKind.URL_PREFIX, "http://pay.example/gate", plain),
    ]


def a_file(rows: Iterable[Row] | None = None, release: Release | None = None) -> bytes:
    builder = IndexBuilder(release or a_release())
    for kind, value, provenance in some_rows() if rows is None else rows:
        builder.add(kind, value, provenance)
    return builder.finish()


def an_index(rows: Iterable[Row] | None = None, release: Release | None = None) -> MappedIndex:
    return MappedIndex(a_file(rows, release))
