"""Lines and tables of list files, each with a limit: what a row is, before what it says."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Final

from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import BadRow

LINE_BYTES_MAX: Final = 16 * 1024
COLUMNS_MAX: Final = 64
ROWS_MAX: Final = 20_000_000
_BOM: Final = b"\xef\xbb\xbf"
_NOTHING: Final = frozenset({"none", "null", "n/a", "-"})


def lines(file: str, data: bytes, *, comments: bool = False) -> Iterator[tuple[int, str | BadRow]]:
    """Yield each line that is not empty, or why it cannot be read.

    Args:
        file: its name, for what cannot be read.
        data: its bytes, untrusted.
        comments: whether lines that begin with # are lines.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    for line, raw in enumerate(BytesIO(data.removeprefix(_BOM)), start=1):
        if line > ROWS_MAX:
            raise FeedUnusable(f"{file} has more than {ROWS_MAX} lines")
        stripped = raw.strip()
        if not stripped or (stripped.startswith(b"#") and not comments):
            continue
        if len(stripped) > LINE_BYTES_MAX:
            yield line, BadRow(file, line, f"longer than {LINE_BYTES_MAX} bytes")
            continue
        try:
            yield line, stripped.decode()
        except UnicodeDecodeError:
            yield line, BadRow(file, line, "not UTF-8")


def tabled(
    file: str, data: bytes, columns: Sequence[str]
) -> Iterator[tuple[int, Mapping[str, str] | BadRow]]:
    """Yield each row of a table whose header, if it has one, may be a comment.

    Args:
        file: its name, for what cannot be read.
        data: its bytes, untrusted.
        columns: their names in lower case, in the order they have without a header; the first two
            are what a header is known by.

    Yields:
        The line's number, and its cells by column; a cell that says ``None`` is empty.

    Raises:
        FeedUnusable: more lines than a feed may have.
    """
    known = set(columns[:2])
    names = list(columns)
    for line, text in lines(file, data, comments=True):
        if isinstance(text, BadRow):
            yield line, text
            continue
        is_comment = text.startswith("#")
        try:
            cells = next(csv.reader([text.lstrip("# ")], strict=True, skipinitialspace=True), [])
        except csv.Error as error:
            if not is_comment:
                yield line, BadRow(file, line, f"not a row of a CSV: {error}")
            continue
        words = [cell.strip().lower() for cell in cells]
        if known.issubset(words):
            names = words
        elif len(cells) > COLUMNS_MAX:
            yield line, BadRow(file, line, f"more than {COLUMNS_MAX} columns")
        elif not is_comment:
            yield (
                line,
                {
                    name: "" if cell.strip().lower() in _NOTHING else cell.strip()
                    for name, cell in zip(names, cells, strict=False)
                },
            )
