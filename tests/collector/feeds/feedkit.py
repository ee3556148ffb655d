"""What every format of a publisher is held to."""

from collections.abc import Sequence

from collector.feeds.formats import Reader
from collector.feeds.rows import BadRow, FeedRow, Read
from tests.collector.feeds.builders import a_csv


def read_as(reader: Reader, text: str | bytes) -> list[Read]:
    """Return what a reader makes of a file."""
    return list(reader(a_csv(), "list.txt", text if isinstance(text, bytes) else text.encode()))


def values_of(found: Sequence[Read]) -> list[tuple[str, str]]:
    """Return kind and value of each row that could be read."""
    return [(row.kind.value, row.value) for row in found if isinstance(row, FeedRow)]


def reasons_of(found: Sequence[Read]) -> list[tuple[int, str]]:
    """Return line and reason of each row that could not."""
    return [(row.line, row.reason) for row in found if isinstance(row, BadRow)]


def only_row(found: Sequence[Read]) -> FeedRow:
    """Return the one row that there is."""
    (row,) = found
    assert isinstance(row, FeedRow), row
    return row
