"""AlienVault OTX: pulses, each with its indicators; a page of the API, a list of them, or one."""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from collector.feeds.attributes import values_of
from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import (
    JSON_ERRORS,
    BadRow,
    FeedRow,
    Read,
    label,
    read_attack,
    read_time,
    read_tlp,
)
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue
from proto.model import Tlp

TECHNIQUES_MAX: Final = 16


class _Indicator(Struct, frozen=True):
    indicator: str = ""
    type: str = ""
    created: str | None = None
    expiration: str | None = None


class _Name(Struct, frozen=True):
    id: str = ""
    display_name: str = ""


class _Pulse(Struct, frozen=True):
    name: str = ""
    tlp: str | None = None
    malware_families: list[_Name | str] = []
    attack_ids: list[_Name | str] = []
    indicators: list[_Indicator] = []


class _Page(Struct, frozen=True):
    results: list[_Pulse]


def read(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read pulses; a row's line is its indicator's number over all of them.

    Raises:
        FeedUnusable: no pulses.
    """
    place = 0
    for pulse in _pulses(feed, file, data):
        family, tlp, attack = _family(pulse), _tlp(pulse), _attack(pulse)
        for found in pulse.indicators:
            place += 1
            try:
                seen = read_time(found.created) if found.created else None
                until = read_time(found.expiration) if found.expiration else None
                for kind, value in values_of(found.type, found.indicator):
                    yield FeedRow(
                        place,
                        kind,
                        value,
                        family=family,
                        tlp=tlp,
                        first_seen=seen,
                        expires=until,
                        attack=attack,
                    )
            except BadValue as error:
                yield BadRow(file, place, error.message)


def _pulses(feed: FeedSettings, file: str, data: bytes) -> list[_Pulse]:
    try:
        if data.lstrip()[:1] == b"[":
            return msgspec.json.decode(data, type=list[_Pulse])
        if "results" in msgspec.json.decode(data, type=dict[str, msgspec.Raw]):
            return msgspec.json.decode(data, type=_Page).results
        return [msgspec.json.decode(data, type=_Pulse)]
    except JSON_ERRORS as error:
        raise FeedUnusable(f"feed {feed.name}: {file} holds no pulses of OTX") from error


def _family(pulse: _Pulse) -> str | None:
    names = [one if isinstance(one, str) else one.display_name for one in pulse.malware_families]
    return label(", ".join(filter(None, names)) or pulse.name)


def _tlp(pulse: _Pulse) -> Tlp | None:
    try:
        return read_tlp(pulse.tlp) if pulse.tlp else None
    except BadValue:
        return None


def _attack(pulse: _Pulse) -> str | None:
    """Return the technique ids; what a pulse calls one and is none is left out."""
    found = []
    for one in pulse.attack_ids:
        try:
            found.append(read_attack(one if isinstance(one, str) else one.id))
        except BadValue:
            continue
    return " ".join(found[:TECHNIQUES_MAX]) or None
