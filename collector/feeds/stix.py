"""STIX 2.1 bundles: indicators whose pattern lists values; the others are named as not lowered."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from collector.feeds.equality import Value, lowered
from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import JSON_ERRORS, BadRow, FeedRow, Read, label, read_time
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue, shown
from proto.model import Tlp

# The marking definitions of TLP 1 and 2, the same in every bundle.
# Source: STIX 2.1 section 7.2.1.4; OASIS TLP 2.0 extension definition.
_TLPS: Final[Mapping[str, Tlp]] = MappingProxyType(
    {
        "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": Tlp.CLEAR,
        "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": Tlp.GREEN,
        "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": Tlp.AMBER,
        "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": Tlp.RED,
        "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": Tlp.CLEAR,
        "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": Tlp.GREEN,
        "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": Tlp.AMBER,
        "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": Tlp.AMBER_STRICT,
        "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": Tlp.RED,
    }
)


class _Bundle(Struct, frozen=True):
    objects: list[msgspec.Raw] = []


class _Kind(Struct, frozen=True):
    type: str


class _Indicator(Struct, frozen=True):
    id: str
    pattern: str
    pattern_type: str = "stix"
    name: str = ""
    revoked: bool = False
    confidence: Annotated[int, Meta(ge=0, le=100)] | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    object_marking_refs: list[str] = []


def read(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a bundle; a row's line is its object's number.

    Raises:
        FeedUnusable: not a bundle.
    """
    try:
        bundle = msgspec.json.decode(data, type=_Bundle)
    except JSON_ERRORS as error:
        raise FeedUnusable(f"feed {feed.name}: {file} is not a bundle of STIX") from error
    for place, raw in enumerate(bundle.objects, start=1):
        try:
            if msgspec.json.decode(raw, type=_Kind).type != "indicator":
                continue
            found = msgspec.json.decode(raw, type=_Indicator)
        except JSON_ERRORS:
            yield BadRow(file, place, "not an object of STIX")
            continue
        if not found.revoked:
            yield from _rows(file, place, found)


def _values(found: _Indicator) -> list[Value]:
    """Return the values that an indicator lists.

    Raises:
        BadValue: it does not list values.
    """
    if found.pattern_type != "stix":
        raise BadValue(f"its pattern is of type {shown(found.pattern_type)}")
    return lowered(found.pattern)


def _rows(file: str, place: int, found: _Indicator) -> Iterator[Read]:
    try:
        seen = read_time(found.valid_from) if found.valid_from else None
        until = read_time(found.valid_until) if found.valid_until else None
        values = _values(found)
    except BadValue as error:
        yield BadRow(file, place, f"{shown(found.id)} is not lowered: {error.message}")
        return
    tlp = next((_TLPS[ref] for ref in found.object_marking_refs if ref in _TLPS), None)
    for kind, value in values:
        yield FeedRow(
            place,
            kind,
            value,
            family=label(found.name),
            confidence=found.confidence,
            tlp=tlp,
            first_seen=seen,
            expires=until,
        )
