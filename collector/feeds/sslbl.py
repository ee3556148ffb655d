"""SSLBL of abuse.ch: certificates and TLS clients of malware.

Certificates: Listingdate, SHA1, Listingreason; the SHA-1 is the certificate's and not a file's.
Clients: ja3_md5, Firstseen, Lastseen, Listingreason. Both have their header in a comment.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from collector.feeds.lines import tabled
from collector.feeds.rows import BadRow, FeedRow, Read, label, read_time
from collector.feeds.settings import FeedSettings
from proto.content.errors import BadValue
from proto.content.kinds import IndicatorKind

_CERTIFICATES: Final = ("listingdate", "sha1", "listingreason")
_CLIENTS: Final = ("ja3_md5", "firstseen", "lastseen", "listingreason")


def read(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a list of certificates.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, cells in tabled(file, data, _CERTIFICATES):
        yield _row(file, line, cells, (IndicatorKind.SHA1, "sha1", "listingdate"))


def read_ja3(_: FeedSettings, file: str, data: bytes) -> Iterator[Read]:
    """Read a list of clients.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, cells in tabled(file, data, _CLIENTS):
        yield _row(file, line, cells, (IndicatorKind.JA3, "ja3_md5", "firstseen"))


def _row(
    file: str,
    line: int,
    cells: Mapping[str, str] | BadRow,
    columns: tuple[IndicatorKind, str, str],
) -> Read:
    if isinstance(cells, BadRow):
        return cells
    kind, value, time = columns
    if not cells.get(value):
        return BadRow(file, line, f"the row has no {value}")
    try:
        seen = read_time(text) if (text := cells.get(time, "")) else None
    except BadValue as error:
        return BadRow(file, line, error.message)
    family = label(cells.get("listingreason", ""))
    return FeedRow(line, kind, cells[value], family=family, first_seen=seen)
