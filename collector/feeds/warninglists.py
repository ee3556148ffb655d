"""Lists of harmless values, in the form of the MISP warninglists, and what each says of a value.

A list speaks only of the kinds its ``matching_attributes`` name. Five types: ``cidr`` (networks
around an address), ``string`` (the whole value), ``hostname`` (the value or a domain above it; of a
URL, its host), ``substring`` and ``regex``. Case makes no difference. A regular expression is used
only where its time is bounded (`safe_pattern`); one that is not is counted and named, never quietly
left out.

All cidr lists together are one set of sorted ranges: a value costs one bisection, however many
lists there are. Substrings are found by their first characters, so that a value costs its length
and not the number of entries.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from collector.feeds.errors import WarningListUnusable
from collector.feeds.rows import JSON_ERRORS
from proto.content.addresses import Network, read_network
from proto.content.errors import BadValue, shown
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.ranges import RangesV4, RangesV6, SetPool, SetTable, pack_v4, pack_v6, split
from proto.content.urls import parse_url

LIST_BYTES_MAX: Final = 256 * 1024**2
BAD_ENTRIES_SHOWN_MAX: Final = 5
_PATTERN_CHARS_MAX: Final = 512
_VALUE_CHARS_MAX: Final = 1024
_UNBOUNDED: Final = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")
_REPEATED_GROUP: Final = re.compile(r"\)(?:[*+]|\{)")
_REFERENCE: Final = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")
_UNBOUNDED_MAX: Final = 2

# Shorter substrings are compared one by one: there cannot be many.
_GRAM_CHARS: Final = 3
_URLS: Final = frozenset({IndicatorKind.URL, IndicatorKind.URL_PREFIX})
_NAME_ATTRIBUTES: Final = frozenset({"domain", "hostname", "domain|ip"})
_URL_ATTRIBUTES: Final = frozenset({"url", "uri", "link"})
_ADDRESSES: Final = frozenset({"ip-src", "ip-dst", "ip-src|port", "ip-dst|port"})
_ATTRIBUTES: Final[Mapping[IndicatorKind, frozenset[str]]] = MappingProxyType(
    {
        IndicatorKind.SHA256: frozenset({"sha256", "filename|sha256"}),
        IndicatorKind.SHA1: frozenset({"sha1", "filename|sha1"}),
        IndicatorKind.MD5: frozenset({"md5", "filename|md5"}),
        IndicatorKind.DOMAIN: _NAME_ATTRIBUTES,
        IndicatorKind.HOSTNAME: _NAME_ATTRIBUTES,
        IndicatorKind.URL: _URL_ATTRIBUTES,
        IndicatorKind.URL_PREFIX: _URL_ATTRIBUTES,
        IndicatorKind.FILE_PATH: frozenset({"filepath", "filename"}),
        IndicatorKind.EMAIL: frozenset({"email", "email-src", "email-dst"}),
        IndicatorKind.JA3: frozenset({"ja3-fingerprint-md5"}),
        IndicatorKind.JA4: frozenset({"ja4-plus"}),
        IndicatorKind.MUTEX: frozenset({"mutex"}),
        IndicatorKind.FILE_NAME: frozenset({"filename"}),
        IndicatorKind.PROCESS_NAME: frozenset({"process-name", "filename"}),
        **{kind: _ADDRESSES for kind, spec in KINDS.items() if spec.shape is Shape.ADDRESS},
    }
)


class _ListFile(Struct, frozen=True):
    """What of a ``list.json`` is used."""

    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    type: Literal["cidr", "string", "hostname", "substring", "regex"]
    list: list[str]
    version: int | str = 0
    matching_attributes: tuple[str, ...] = ()


class WarningList(Struct, frozen=True):
    """One list, read; ``bad`` counts entries that cannot be used and names the first few."""

    name: str
    type: str
    kinds: frozenset[IndicatorKind]
    entries: tuple[str, ...]
    digest: bytes
    bad: int = 0
    bad_entries: tuple[str, ...] = ()


def read_warninglist(data: bytes) -> WarningList:
    """Return the list in a ``list.json``.

    Raises:
        WarningListUnusable: not a list of a known type.
    """
    if len(data) > LIST_BYTES_MAX:
        raise WarningListUnusable(f"a warninglist has at most {LIST_BYTES_MAX} bytes")
    try:
        found = msgspec.json.decode(data, type=_ListFile)
    except JSON_ERRORS as error:
        raise WarningListUnusable(f"not a warninglist: {error}") from error
    entries, bad = [], []
    for entry in found.list:
        usable = _usable(found.type, entry)
        entries.append(entry) if usable else bad.append(shown(entry))
    attributes = set(found.matching_attributes)
    return WarningList(
        name=found.name,
        type=found.type,
        kinds=frozenset(
            kind for kind, names in _ATTRIBUTES.items() if not attributes or attributes & names
        ),
        entries=tuple(entries),
        digest=sha256(data).digest(),
        bad=len(bad),
        bad_entries=tuple(bad[:BAD_ENTRIES_SHOWN_MAX]),
    )


def safe_pattern(text: str) -> re.Pattern[str] | None:
    """Return a pattern that cannot take long on a value of bounded length; None for any other.

    Refused: repeated groups, references, and more than two unbounded repetitions.
    """
    if text.startswith("/") and (end := text.rfind("/")) > 0:
        text = text[1:end]
    if len(text) > _PATTERN_CHARS_MAX or _REPEATED_GROUP.search(text) or _REFERENCE.search(text):
        return None
    if len(_UNBOUNDED.findall(text)) > _UNBOUNDED_MAX:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # a meaning that will change is none
            return re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, FutureWarning):
        return None


class WarningLists:
    """All lists, ready to be asked.

    Args:
        lists: in order; where several know a value, the first is named.
    """

    def __init__(self, lists: Sequence[WarningList]) -> None:
        self.lists = tuple(lists)
        self.digest = sha256(b"".join(found.digest for found in lists)).digest()
        self._v4, self._v6, self._sets = _ranges(lists)
        self._texts: dict[IndicatorKind, dict[str, int]] = {}
        self._hosts: dict[IndicatorKind, dict[str, int]] = {}
        self._parts: dict[IndicatorKind, dict[str, list[tuple[str, int]]]] = {}
        self._patterns: dict[IndicatorKind, list[tuple[re.Pattern[str], int]]] = {}
        for number, found in enumerate(lists):
            self._index(number, found)

    def of_network(self, kind: IndicatorKind, found: Network) -> str:
        """Return the name of the first list with a network around all of this; else empty.

        A network that merely overlaps a harmless one is not harmless itself.
        """
        ranges = self._v4 if found.version == 4 else self._v6
        place = ranges.find(found.first)
        names = []
        if place >= 0:
            for number, _, prefix in self._sets.get(place, 0):
                if prefix <= found.prefix and kind in self.lists[number].kinds:
                    names.append(number)
        return self._first([*names, *self._text_numbers(kind, str(found))])

    def of_text(self, kind: IndicatorKind, value: str) -> str:
        """Return the name of the first list that knows a value; else empty."""
        return self._first(self._text_numbers(kind, value))

    def _first(self, numbers: Sequence[int]) -> str:
        return self.lists[min(numbers)].name[:256] if numbers else ""

    def _text_numbers(self, kind: IndicatorKind, value: str) -> list[int]:
        text = value.lower()
        texts = self._texts.get(kind, {})
        found = [texts[text]] if text in texts else []
        if hosts := self._hosts.get(kind):
            labels = _host(kind, text).rstrip(".").split(".")
            names = (".".join(labels[start:]) for start in range(len(labels)))
            found += [hosts[name] for name in names if name in hosts]
        cut = text[:_VALUE_CHARS_MAX]
        if parts := self._parts.get(kind):
            grams = {cut[at : at + _GRAM_CHARS] for at in range(len(cut))} & parts.keys()
            for gram in ("", *grams):
                found += [number for part, number in parts.get(gram, ()) if part in cut]
        found += [number for pattern, number in self._patterns.get(kind, ()) if pattern.search(cut)]
        return found

    def _index(self, number: int, found: WarningList) -> None:
        for kind in found.kinds:
            if found.type == "string":
                texts = self._texts.setdefault(kind, {})
                for entry in found.entries:
                    texts.setdefault(entry.lower(), number)
            elif found.type == "hostname":
                hosts = self._hosts.setdefault(kind, {})
                for entry in found.entries:
                    hosts.setdefault(entry.lower().strip("."), number)
            elif found.type == "substring":
                parts = self._parts.setdefault(kind, {})
                for part in map(str.lower, found.entries):
                    gram = part[:_GRAM_CHARS] if len(part) >= _GRAM_CHARS else ""
                    parts.setdefault(gram, []).append((part, number))
            elif found.type == "regex":
                patterns = self._patterns.setdefault(kind, [])
                compiled = (safe_pattern(entry) for entry in found.entries)
                patterns += [(pattern, number) for pattern in compiled if pattern]


def _host(kind: IndicatorKind, text: str) -> str:
    return parse_url(text).host if kind in _URLS else text


def _usable(kind: str, entry: str) -> bool:
    if kind == "regex":
        return safe_pattern(entry) is not None
    if kind != "cidr":
        return bool(entry.strip("."))
    try:
        read_network(entry)
    except BadValue:
        return False
    return True


def _ranges(lists: Sequence[WarningList]) -> tuple[RangesV4, RangesV6, SetTable]:
    networks = [
        (read_network(entry), number)
        for number, found in enumerate(lists)
        if found.type == "cidr"
        for entry in found.entries
    ]
    pool = SetPool()
    v4 = list(split(pair for pair in networks if pair[0].version == 4))
    v6 = list(split(pair for pair in networks if pair[0].version == 6))
    tables = (
        RangesV4(memoryview(pack_v4(v4, pool)), len(v4)),
        RangesV6(memoryview(pack_v6(v6, pool)), len(v6)),
    )
    data, count = pool.pack()
    return *tables, SetTable(memoryview(data), count)
