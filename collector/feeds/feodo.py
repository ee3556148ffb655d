"""Feodo Tracker of abuse.ch: endpoints that botnets are commanded from.

Columns: first_seen_utc, dst_ip, dst_port, c2_status, last_online, malware.
"""

from collections.abc import Iterator
from typing import Final

from collector.feeds.lines import tabled
from collector.feeds.rows import BadRow, FeedRow, Read, endpoint, label, read_time
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue
from proto.content.kinds import IndicatorKind

_COLUMNS: Final = ("first_seen_utc", "dst_ip", "dst_port", "c2_status", "last_online", "malware")


def read(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a list of endpoints.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, cells in tabled(file, data, _COLUMNS):
        if isinstance(cells, BadRow):
            yield cells
            continue
        address, port = cells.get("dst_ip", ""), cells.get("dst_port", "")
        if not address or not port:
            yield BadRow(file, line, "the row has no address or no port")
            continue
        try:
            seen = read_time(text) if (text := cells.get("first_seen_utc", "")) else None
        except BadValue as error:
            yield BadRow(file, line, error.message)
            continue
        value, family = endpoint(address, port), label(cells.get("malware", ""))
        yield FeedRow(line, IndicatorKind.IP_PORT, value, family=family, first_seen=seen)
