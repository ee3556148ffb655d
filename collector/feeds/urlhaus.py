"""URLhaus of abuse.ch: URLs that give away malware.

Columns: id, dateadded, url, url_status, last_online, threat, tags, urlhaus_link, reporter. The
header stands in a comment; the tags are a list within one cell.
"""

from collections.abc import Iterator
from typing import Final

from collector.feeds.lines import tabled
from collector.feeds.rows import BadRow, FeedRow, Read, label, read_time
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue
from proto.content.kinds import IndicatorKind

_COLUMNS: Final = (
    "id",
    "dateadded",
    "url",
    "url_status",
    "last_online",
    "threat",
    "tags",
    "urlhaus_link",
    "reporter",
)


def read(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a dump of URLs.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, cells in tabled(file, data, _COLUMNS):
        if isinstance(cells, BadRow):
            yield cells
            continue
        value = cells.get("url", "")
        if not value:
            yield BadRow(file, line, "the row has no URL")
            continue
        try:
            seen = read_time(text) if (text := cells.get("dateadded", "")) else None
        except BadValue as error:
            yield BadRow(file, line, error.message)
            continue
        family = label(cells.get("tags") or cells.get("threat", ""))
        yield FeedRow(line, IndicatorKind.URL, value, family=family, first_seen=seen)
