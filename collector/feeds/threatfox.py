"""ThreatFox of abuse.ch: indicators of many kinds, as JSON or as CSV.

JSON comes as an object of lists by id (the export), as ``{"data": [...]}`` (the API) or as one
object a line. An endpoint of IPv6 has no brackets: what follows its last colon is the port.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from collector.feeds.errors import FeedUnusable
from collector.feeds.lines import lines, tabled
from collector.feeds.rows import (
    JSON_ERRORS,
    BadRow,
    FeedRow,
    Read,
    label,
    read_confidence,
    read_time,
)
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue, shown
from proto.content.kinds import IndicatorKind

_KINDS: Final[Mapping[str, IndicatorKind]] = MappingProxyType(
    {
        "ip:port": IndicatorKind.IP_PORT,
        "domain": IndicatorKind.DOMAIN,
        "url": IndicatorKind.URL,
        "md5_hash": IndicatorKind.MD5,
        "sha1_hash": IndicatorKind.SHA1,
        "sha256_hash": IndicatorKind.SHA256,
        "envelope_from": IndicatorKind.EMAIL,
        "body_from": IndicatorKind.EMAIL,
    }
)
_COLUMNS: Final = (
    "first_seen_utc",
    "ioc_id",
    "ioc_value",
    "ioc_type",
    "threat_type",
    "fk_malware",
    "malware_alias",
    "malware_printable",
    "last_seen_utc",
    "confidence_level",
    "reference",
    "tags",
    "anonymous",
    "reporter",
)


class _Ioc(Struct, frozen=True):
    """One indicator; the export says ``ioc_value``, the API ``ioc``."""

    ioc: str = ""
    ioc_value: str = ""
    ioc_type: str = ""
    malware_printable: str | None = None
    malware: str | None = None
    confidence_level: int | None = None
    first_seen: str | None = None
    first_seen_utc: str | None = None


class _Api(Struct, frozen=True):
    data: list[msgspec.Raw] | UnsetType = UNSET


def read(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read indicators in JSON.

    Raises:
        FeedUnusable: none of its three forms.
    """
    for place, raw in _objects(feed, file, data):
        if isinstance(raw, BadRow):
            yield raw
            continue
        try:
            found = msgspec.json.decode(raw, type=_Ioc)
        except JSON_ERRORS:
            yield BadRow(file, place, "not an indicator of ThreatFox")
            continue
        yield _row(file, place, _fields(found))


def read_csv(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read indicators in CSV.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, cells in tabled(file, data, _COLUMNS):
        yield cells if isinstance(cells, BadRow) else _row(file, line, cells)


def _objects(
    feed: FeedSettings, file: str, data: bytes
) -> Iterator[tuple[int, msgspec.Raw | bytes | BadRow]]:
    try:
        whole: Any = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except JSON_ERRORS:
        for line, text in lines(file, data):
            yield line, text if isinstance(text, BadRow) else text.encode()
        return
    if "ioc_type" in whole:
        yield 1, data
        return
    try:
        if "data" in whole:
            listed = [msgspec.json.decode(data, type=_Api).data or []]
        else:
            decoder = msgspec.json.Decoder(list[msgspec.Raw])
            listed = [decoder.decode(one) for one in whole.values()]
    except JSON_ERRORS as error:
        raise FeedUnusable(f"feed {feed.name}: {file} is no export of ThreatFox") from error
    place = 0
    for group in listed:
        for raw in group or ():
            place += 1
            yield place, raw


def _fields(found: _Ioc) -> Mapping[str, str]:
    level = found.confidence_level
    return {
        "ioc_value": found.ioc_value or found.ioc,
        "ioc_type": found.ioc_type,
        "malware_printable": found.malware_printable or found.malware or "",
        "confidence_level": "" if level is None else str(level),
        "first_seen_utc": found.first_seen_utc or found.first_seen or "",
    }


def _row(file: str, line: int, cells: Mapping[str, str]) -> Read:
    kind = _KINDS.get(cells.get("ioc_type", "").lower())
    value = cells.get("ioc_value", "")
    if kind is None or not value:
        return BadRow(file, line, f"no value of a kind of ours: {shown(cells.get('ioc_type', ''))}")
    try:
        return FeedRow(
            line,
            kind,
            value,
            family=label(cells.get("malware_printable", "")),
            confidence=read_confidence(text) if (text := cells.get("confidence_level")) else None,
            first_seen=read_time(text) if (text := cells.get("first_seen_utc")) else None,
        )
    except BadValue as error:
        return BadRow(file, line, error.message)
