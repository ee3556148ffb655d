"""What became of the feeds in one run: counts, and the first of whatever was left out by name."""

import enum
from typing import Final

from msgspec import Struct

from collector.feeds.rows import BadRow

BAD_ROWS_SHOWN_MAX: Final = 20


class ListCount(Struct, frozen=True):
    """How many indicators one warninglist touched."""

    name: str
    count: int


class FeedResult(Struct, frozen=True, kw_only=True):
    """One feed. Every row is counted in exactly one of the numbers below ``rows``.

    ``error`` says why the feed could not be read at all.
    """

    name: str
    error: str = ""
    files: int = 0
    rows: int = 0
    accepted: int = 0
    bad: int = 0
    low_count: int = 0
    expired: int = 0
    dropped: int = 0
    annotated: int = 0
    bad_rows: tuple[BadRow, ...] = ()
    dropped_by: tuple[ListCount, ...] = ()
    annotated_by: tuple[ListCount, ...] = ()


class WarningListResult(Struct, frozen=True):
    """Entries of a warninglist that could not be used."""

    name: str
    bad: int
    bad_entries: tuple[str, ...]


class Outcome(enum.Enum):
    """What a run did."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class FeedReport(Struct, frozen=True, kw_only=True):
    """One run over all feeds; times in nanoseconds UTC, ``size`` in bytes.

    ``offline_days_left`` says in how many days the offline keys have to sign again.
    """

    outcome: Outcome
    reason: str = ""
    version: int
    built_at: int
    indicators: int
    size: int
    offline_days_left: int
    refreshed: tuple[str, ...] = ()
    feeds: tuple[FeedResult, ...] = ()
    warninglists: tuple[WarningListResult, ...] = ()
