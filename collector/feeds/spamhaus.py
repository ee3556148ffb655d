"""Spamhaus DROP: networks of nobody but criminals, as JSON Lines of IPv4 or IPv6.

Each line: cidr, sblid, rir. The last is metadata with the copyright and how many there are; where
rows are missing, it is named as a bad row.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from collector.feeds.lines import lines
from collector.feeds.rows import JSON_ERRORS, BadRow, FeedRow, Read
from collector.feeds.settings import FeedSettings
from proto.content.kinds import IndicatorKind


class _Line(Struct, frozen=True):
    cidr: str = ""
    sblid: str = ""
    type: str = ""
    records: int | None = None


def read(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a list of networks.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    decoder, rows = msgspec.json.Decoder(_Line), 0
    for line, text in lines(file, data):
        if isinstance(text, BadRow):
            yield text
            continue
        try:
            found = decoder.decode(text)
        except JSON_ERRORS:
            yield BadRow(file, line, "not a line of DROP")
            continue
        if found.type == "metadata":
            if found.records is not None and found.records != rows:
                yield BadRow(file, line, f"the list says {found.records} rows and has {rows}")
        elif not found.cidr:
            yield BadRow(file, line, "the row has no network")
        else:
            rows += 1
            yield FeedRow(line, IndicatorKind.CIDR, found.cidr, family=found.sblid[:256] or None)
