"""Feeds and warninglists in, an index and a report out; pure, so the same input gives one index."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from collector.feeds.errors import FeedUnusable
from collector.feeds.formats import FORMATS
from collector.feeds.report import BAD_ROWS_SHOWN_MAX, FeedResult, ListCount, WarningListResult
from collector.feeds.rows import BadRow, FeedRow, LowCount
from collector.feeds.settings import FeedSettings, WarningPolicy
from collector.feeds.warninglists import WarningLists
from proto.content.build import IndexBuilder
from proto.content.errors import BadValue
from proto.content.index import MappedIndex
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.layout import FORMAT, SALT_BYTES, Release
from proto.content.normalise import network, normalise
from proto.content.records import NS_PER_HOUR, Provenance

_NS_PER_DAY: Final = 24 * NS_PER_HOUR


class FeedFile(Struct, frozen=True):
    """One file of a feed; ``seen_at`` is when the list was last confirmed, in nanoseconds UTC."""

    name: str
    data: bytes
    seen_at: int


class FeedInput(Struct, frozen=True):
    """One feed and what was read of it; ``error`` says why it could not be read."""

    settings: FeedSettings
    files: tuple[FeedFile, ...]
    error: str = ""


class Compiled(Struct, frozen=True):
    """An index and how it came about."""

    data: bytes
    version: int
    indicators: int
    feeds: tuple[FeedResult, ...]
    warninglists: tuple[WarningListResult, ...]


def source_digest(feeds: Sequence[FeedInput], warninglists: WarningLists) -> bytes:
    """Return the digest of everything an index is made of but its version and time.

    Two runs with the same digest would list the same, so the second need not be published.
    """
    digest = hashlib.sha256(b"vedette/indicators/%d\0" % FORMAT + warninglists.digest)
    for feed in feeds:
        digest.update(hashlib.sha256(msgspec.json.encode(feed.settings)).digest())
        for file in feed.files:
            seen = file.seen_at // NS_PER_HOUR
            digest.update(b"%d\0" % seen + hashlib.sha256(file.data).digest())
        digest.update(b"\1")
    return digest.digest()


def compile_content(
    feeds: Sequence[FeedInput], warninglists: WarningLists, version: int, built_at: int
) -> Compiled:
    """Return the index of all feeds.

    A feed that cannot be read gives its error to the report and no further indicator; whether what
    is left may be published is for the publisher to say.

    Args:
        feeds: what was read, in order.
        warninglists: which values are harmless.
        version: the release number.
        built_at: nanoseconds UTC; indicators that expired by then are left out.

    Raises:
        ContentTooLarge: more than an index can hold.
    """
    source = source_digest(feeds, warninglists)
    salt = hashlib.sha256(b"salt\0" + source).digest()[:SALT_BYTES]
    builder = IndexBuilder(Release(version, built_at, salt, source))
    results = tuple(_FeedRun(feed, warninglists, builder, built_at).run() for feed in feeds)
    data = builder.finish()
    return Compiled(
        data=data,
        version=version,
        indicators=MappedIndex(data).count,
        feeds=results,
        warninglists=tuple(
            WarningListResult(found.name, found.bad, found.bad_entries)
            for found in warninglists.lists
            if found.bad
        ),
    )


class _FeedRun:
    """Puts the rows of one feed into the builder and counts what becomes of each."""

    def __init__(
        self,
        feed: FeedInput,
        warninglists: WarningLists,
        builder: IndexBuilder,
        built_at: int,
    ) -> None:
        self._feed = feed
        self._settings = feed.settings
        self._lists = warninglists
        self._builder = builder
        self._built_at = built_at
        self._counts: Counter[str] = Counter()
        self._bad_rows: list[BadRow] = []
        self._touched: Counter[str] = Counter()

    def run(self) -> FeedResult:
        error = self._feed.error
        try:
            for file in self._feed.files:
                self._read(file)
        except FeedUnusable as failure:
            error = str(failure)
        touched = tuple(ListCount(*pair) for pair in sorted(self._touched.items()))
        drops = self._settings.warninglists is WarningPolicy.DROP
        return FeedResult(
            name=self._settings.name,
            error=error,
            files=len(self._feed.files),
            rows=self._counts.total() - self._counts["annotated"],
            bad_rows=tuple(self._bad_rows),
            dropped_by=touched if drops else (),
            annotated_by=() if drops else touched,
            **self._counts,
        )

    def _read(self, file: FeedFile) -> None:
        for row in FORMATS[self._settings.format](self._settings, file.name, file.data):
            if isinstance(row, FeedRow):
                try:
                    self._counts[self._take(row, file.seen_at)] += 1
                except BadValue as error:
                    self._bad(BadRow(file.name, row.line, error.message))
            elif isinstance(row, LowCount):
                self._counts["low_count"] += 1
            else:
                self._bad(row)

    def _bad(self, row: BadRow) -> None:
        self._counts["bad"] += 1
        if len(self._bad_rows) < BAD_ROWS_SHOWN_MAX:
            self._bad_rows.append(row)

    def _take(self, row: FeedRow, seen_at: int) -> str:
        """Put one row where it belongs and return the count it adds to."""
        expires = row.expires or self._ttl_end(seen_at)
        if expires is not None and expires <= self._built_at:
            return "expired"
        ignores = self._settings.warninglists is WarningPolicy.IGNORE
        if KINDS[row.kind].shape is Shape.ADDRESS:
            found = network(row.kind, row.value)
            warning = "" if ignores else self._lists.of_network(row.kind, found)
            if self._is_dropped(warning):
                return "dropped"
            self._builder.add_network(found, self._provenance(row, expires, warning))
        else:
            kind = row.kind
            if kind is IndicatorKind.DOMAIN and not self._settings.subdomains:
                kind = IndicatorKind.HOSTNAME
            value = normalise(kind, row.value)
            warning = "" if ignores else self._lists.of_text(kind, value)
            if self._is_dropped(warning):
                return "dropped"
            self._builder.add(kind, value, self._provenance(row, expires, warning))
        return "accepted"

    def _is_dropped(self, warning: str) -> bool:
        if not warning:
            return False
        self._touched[warning] += 1
        if self._settings.warninglists is WarningPolicy.DROP:
            return True
        self._counts["annotated"] += 1
        return False

    def _ttl_end(self, seen_at: int) -> int | None:
        days = self._settings.ttl_days
        return seen_at + days * _NS_PER_DAY if days else None

    def _provenance(self, row: FeedRow, expires: int | None, warning: str) -> Provenance:
        feed = self._settings
        return Provenance(
            feed=feed.name,
            family=feed.family if row.family is None else row.family,
            confidence=feed.confidence if row.confidence is None else row.confidence,
            tlp=feed.tlp if row.tlp is None else row.tlp,
            first_seen=row.first_seen,
            expires=expires,
            attack=feed.attack if row.attack is None else row.attack,
            warning=warning,
        )
