"""The ways a feed writes its rows: one function each, in one table.

Lists that anybody may write are here, those of one publisher in a module of its own.

A function gets the bytes of a file and yields, for each row, what it says or why it cannot be read.
Nothing a file holds raises anything but `FeedUnusable`, and that only when no row can be read.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from collector.feeds import (
    feodo,
    malwarebazaar,
    misp,
    otx,
    spamhaus,
    sslbl,
    stix,
    threatfox,
    urlhaus,
)
from collector.feeds.errors import FeedUnusable
from collector.feeds.lines import COLUMNS_MAX, lines
from collector.feeds.rows import (
    BadRow,
    FeedRow,
    LowCount,
    Read,
    kind_of,
    read_attack,
    read_confidence,
    read_kind,
    read_time,
    read_tlp,
)
from collector.feeds.settings import FeedFormat, FeedKind, FeedSettings
from proto.content.errors import BadValue, shown

_COUNTED: Final = re.compile(r"(\S+)[ \t]+(\d{1,6})", re.ASCII)

Reader = Callable[[FeedSettings, str, bytes], Iterator[Read]]


def read_plain(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a value a line.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    kind = _kind(feed)
    for line, text in lines(file, data):
        yield text if isinstance(text, BadRow) else FeedRow(line, kind_of(kind, text), text)


def read_counted(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a value and how many lists name it; the count becomes confidence.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    kind = _kind(feed)
    for line, text in lines(file, data):
        if isinstance(text, BadRow):
            yield text
        elif not (found := _COUNTED.fullmatch(text)):
            yield BadRow(file, line, f"{shown(text)} is not a value and a count")
        elif (count := int(found[2])) < feed.count_min:
            yield LowCount(line)
        else:
            confidence = min(100, count * feed.count_confidence)
            yield FeedRow(line, kind_of(kind, found[1]), found[1], confidence=confidence)


def read_csv(feed: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a table: a header, then a row a line; quotes may hold commas but no line ends.

    Columns: value, kind, family, confidence, tlp, first_seen, expires, attack. Others are skipped,
    and an empty field leaves the word to the feed's settings.

    Raises:
        FeedUnusable: the header is missing or has no column ``value``; too many lines.
    """
    columns: dict[str, int] = {}
    for line, text in lines(file, data):
        if isinstance(text, BadRow):
            yield text
            continue
        try:
            cells = next(csv.reader([text], strict=True))
        except csv.Error as error:
            yield BadRow(file, line, f"not a row of a CSV: {error}")
            continue
        if not columns:
            columns = _header(feed, file, cells)
            continue
        try:
            yield _csv_row(feed, columns, line, cells)
        except BadValue as error:
            yield BadRow(file, line, error.message)
    if not columns:
        raise FeedUnusable(f"feed {feed.name}: {file} has no header")


def _header(feed: FeedSettings, file: str, cells: list[str]) -> dict[str, int]:
    if len(cells) > COLUMNS_MAX:
        raise FeedUnusable(f"feed {feed.name}: {file} has more than {COLUMNS_MAX} columns")
    columns = {cell.strip().lower(): place for place, cell in enumerate(cells)}
    if "value" not in columns:
        raise FeedUnusable(
            f"feed {feed.name}: the header of {file} has no column value",
            hint="name the columns value, kind, family, confidence, tlp, first_seen, expires",
        )
    if feed.kind is None and "kind" not in columns:
        raise FeedUnusable(
            f"feed {feed.name}: neither the header of {file} nor the settings say a kind",
            hint="add a column kind, or kind to the feed's settings",
        )
    return columns


def _csv_row(feed: FeedSettings, columns: Mapping[str, int], line: int, cells: list[str]) -> Read:
    if len(cells) > COLUMNS_MAX:
        raise BadValue(f"more than {COLUMNS_MAX} columns")

    def cell(name: str) -> str:
        place = columns.get(name, COLUMNS_MAX)
        return cells[place].strip() if place < len(cells) else ""

    value = cell("value")
    kind = read_kind(cell("kind")) if cell("kind") else feed.kind
    if kind is None or not value:
        raise BadValue("the row has no value" if not value else "the row has no kind")
    return FeedRow(
        line,
        kind_of(kind, value),
        value,
        family=cell("family")[:256] or None,
        confidence=read_confidence(text) if (text := cell("confidence")) else None,
        tlp=read_tlp(text) if (text := cell("tlp")) else None,
        first_seen=read_time(text) if (text := cell("first_seen")) else None,
        expires=read_time(text) if (text := cell("expires")) else None,
        attack=read_attack(text) if (text := cell("attack")) else None,
    )


def _kind(feed: FeedSettings) -> FeedKind:
    if feed.kind is None:
        raise FeedUnusable(f"feed {feed.name}: its settings say no kind")
    return feed.kind


FORMATS: Final[Mapping[FeedFormat, Reader]] = MappingProxyType(
    {
        FeedFormat.PLAIN: read_plain,
        FeedFormat.CSV: read_csv,
        FeedFormat.COUNTED: read_counted,
        FeedFormat.URLHAUS: urlhaus.read,
        FeedFormat.THREATFOX: threatfox.read,
        FeedFormat.THREATFOX_CSV: threatfox.read_csv,
        FeedFormat.MALWAREBAZAAR: malwarebazaar.read,
        FeedFormat.FEODO: feodo.read,
        FeedFormat.SSLBL: sslbl.read,
        FeedFormat.SSLBL_JA3: sslbl.read_ja3,
        FeedFormat.SPAMHAUS: spamhaus.read,
        FeedFormat.MISP: misp.read,
        FeedFormat.MISP_CSV: misp.read_csv,
        FeedFormat.OTX: otx.read,
        FeedFormat.STIX: stix.read,
    }
)
