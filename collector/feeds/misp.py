"""MISP: the events of a feed's directory, one JSON file each, and its CSV export.

Only attributes that are meant for detection (``to_ids``) are indicators. A free text feed is
``plain`` with kind ``any``. ``manifest.json`` and ``hashes.csv`` of a feed hold no indicators: name
the events alone (``path = "feed/*-*.json"``).
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from collector.feeds.attributes import values_of
from collector.feeds.errors import FeedUnusable
from collector.feeds.lines import tabled
from collector.feeds.rows import JSON_ERRORS, BadRow, FeedRow, Read, label, read_time, read_tlp
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue, shown
from proto.model import Tlp

ATTRIBUTES_MAX: Final = 5_000_000
_COLUMNS: Final = ("uuid", "event_id", "category", "type", "value", "comment", "to_ids", "date")
_YES: Final = frozenset({"1", "true"})


class _Tag(Struct, frozen=True):
    name: str = ""


class _Attribute(Struct, frozen=True):
    type: str = ""
    value: str = ""
    to_ids: bool = False
    timestamp: str | int = ""


class _Object(Struct, frozen=True):
    Attribute: list[_Attribute] = []


class _Event(Struct, frozen=True):
    info: str = ""
    Attribute: list[_Attribute] = []
    Object: list[_Object] = []
    Tag: list[_Tag] = []


class _File(Struct, frozen=True):
    Event: _Event


def read(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read an event; a row's line is its attribute's number.

    Raises:
        FeedUnusable: not an event.
    """
    try:
        event = msgspec.json.decode(data, type=_File).Event
    except JSON_ERRORS as error:
        raise FeedUnusable(f"feed {feed.name}: {file} is not an event of MISP") from error
    attributes = [*event.Attribute, *(one for group in event.Object for one in group.Attribute)]
    if len(attributes) > ATTRIBUTES_MAX:
        raise FeedUnusable(f"{file} has more than {ATTRIBUTES_MAX} attributes")
    family, tlp = label(event.info), _tlp(event.Tag)
    for place, found in enumerate(attributes, start=1):
        if not found.to_ids:
            continue
        try:
            seen = read_time(str(found.timestamp)) if found.timestamp else None
            for kind, value in values_of(found.type, found.value):
                yield FeedRow(place, kind, value, family=family, tlp=tlp, first_seen=seen)
        except BadValue as error:
            yield BadRow(file, place, error.message)


def read_csv(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read an export of attributes.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, cells in tabled(file, data, _COLUMNS):
        if isinstance(cells, BadRow):
            yield cells
            continue
        flag, value = cells.get("to_ids", "").lower(), cells.get("value", "")
        if flag and flag not in _YES:
            continue
        if not value:
            yield BadRow(file, line, f"the row of type {shown(cells.get('type', ''))} has no value")
            continue
        try:
            seen = read_time(text) if (text := cells.get("date", "")) else None
            for kind, part in values_of(cells.get("type", ""), value):
                yield FeedRow(line, kind, part, first_seen=seen)
        except BadValue as error:
            yield BadRow(file, line, error.message)


def _tlp(tags: list[_Tag]) -> Tlp | None:
    for tag in tags:
        if tag.name.lower().startswith("tlp:"):
            try:
                return read_tlp(tag.name)
            except BadValue:
                continue
    return None
