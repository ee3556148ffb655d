"""Rows of feeds: what one says, and the spellings of its fields."""

import datetime as dt
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from collector.feeds.settings import FeedKind
from proto.content.errors import BadValue, shown
from proto.content.kinds import IndicatorKind
from proto.content.normalise import address_kind, likely_kind
from proto.model import Tlp

NS_PER_S: Final = 10**9
# What decoding anybody's JSON raises: text that is no UTF-8 in a name is its own case.
JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_TIME_CHARS_MAX: Final = 40
_TIME_MAX: Final = 2**63 // NS_PER_S
_UNIX: Final = re.compile(r"\d{9,10}", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,3}", re.ASCII)
_TECHNIQUE: Final = re.compile(r"T\d{4}(?:\.\d{3})?", re.ASCII)

# Names that feeds and exports give our kinds.
_ALIASES: Final[Mapping[str, FeedKind]] = MappingProxyType(
    {
        "ip": FeedKind.ADDRESS,
        "ip-src": FeedKind.ADDRESS,
        "ip-dst": FeedKind.ADDRESS,
        "ip:port": FeedKind.IP_PORT,
        "ip-dst|port": FeedKind.IP_PORT,
        "sha256_hash": FeedKind.SHA256,
        "filename": FeedKind.FILE_NAME,
        "process-name": FeedKind.PROCESS_NAME,
        "ip-src|port": FeedKind.IP_PORT,
        "md5_hash": FeedKind.MD5,
        "sha1_hash": FeedKind.SHA1,
        "filehash-md5": FeedKind.MD5,
        "filehash-sha1": FeedKind.SHA1,
        "filehash-sha256": FeedKind.SHA256,
        "domain-name": FeedKind.DOMAIN,
        "uri": FeedKind.URL,
        "link": FeedKind.URL,
        "email-src": FeedKind.EMAIL,
        "email-dst": FeedKind.EMAIL,
        "filepath": FeedKind.FILE_PATH,
        "ja3-fingerprint-md5": FeedKind.JA3,
        "ja4-plus": FeedKind.JA4,
    }
)
_TOLD_BY_SHAPE: Final = frozenset({FeedKind.HOST, FeedKind.ANY})
_TLPS: Final[Mapping[str, Tlp]] = MappingProxyType(
    {tlp.value: tlp for tlp in Tlp if tlp is not Tlp.UNSPECIFIED} | {"white": Tlp.CLEAR}
)


class FeedRow(Struct, frozen=True, gc=False):
    """One row, read; None where the row is silent. Times in nanoseconds UTC."""

    line: int
    kind: IndicatorKind
    value: str
    family: str | None = None
    confidence: int | None = None
    tlp: Tlp | None = None
    first_seen: int | None = None
    expires: int | None = None
    attack: str | None = None


class BadRow(Struct, frozen=True):
    """A row that could not be read, and why."""

    file: str
    line: int
    reason: str


class LowCount(Struct, frozen=True):
    """A row that too few lists name."""

    line: int


Read = FeedRow | BadRow | LowCount


def read_kind(text: str) -> FeedKind:
    """Return the kind that a word means.

    Raises:
        BadValue: no kind of ours.
    """
    word = text.strip().lower()
    if word in _ALIASES:
        return _ALIASES[word]
    try:
        return FeedKind(word)
    except ValueError as error:
        raise BadValue(f"{shown(text)} is not a kind of indicator") from error


def kind_of(kind: FeedKind, value: str) -> IndicatorKind:
    """Return the kind of one value: its own shape decides where the feed does not say."""
    if kind is FeedKind.ADDRESS:
        return address_kind(value)
    if kind in _TOLD_BY_SHAPE:
        return likely_kind(value)
    return IndicatorKind(kind.value)


def label(text: str) -> str | None:
    """Return a text as a family is kept: cut, and None where there is none."""
    return text.strip()[:256] or None


def endpoint(address: str, port: str) -> str:
    """Return an address and a port as one value."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def read_confidence(text: str) -> int:
    """Return a confidence of 0 to 100.

    Raises:
        BadValue: another number, or none.
    """
    if not _NUMBER.fullmatch(text) or int(text) > 100:
        raise BadValue(f"{shown(text)} is not a confidence of 0 to 100")
    return int(text)


def read_tlp(text: str) -> Tlp:
    """Return a traffic light label, with or without ``TLP:`` in front.

    Raises:
        BadValue: no label of version 2.0 (``white`` is read as ``clear``).
    """
    word = text.strip().lower().removeprefix("tlp:").replace("+", "_")
    if word not in _TLPS:
        raise BadValue(f"{shown(text)} is not a TLP label")
    return _TLPS[word]


def read_time(text: str) -> int:
    """Return ISO 8601 or Unix seconds as nanoseconds UTC; no zone means UTC.

    Raises:
        BadValue: not a time, or before 1970.
    """
    word = text.strip().removesuffix(" UTC")
    if _UNIX.fullmatch(word):
        return int(word) * NS_PER_S
    try:
        time = dt.datetime.fromisoformat(word if len(word) <= _TIME_CHARS_MAX else "")
        seconds = (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadValue(f"{shown(text)} is not a time") from error
    if not 0 < seconds < _TIME_MAX:
        raise BadValue(f"{shown(text)} lies outside the times we keep")
    return int(seconds) * NS_PER_S


def read_attack(text: str) -> str:
    """Return technique ids separated by single spaces.

    Raises:
        BadValue: a word that is no technique id.
    """
    words = text.replace(",", " ").split()
    for word in words:
        if not _TECHNIQUE.fullmatch(word):
            raise BadValue(f"{shown(word)} is not an ATT&CK technique")
    return " ".join(words)
