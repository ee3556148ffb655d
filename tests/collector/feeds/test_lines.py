"""The laws of lines and tables."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds import lines as room
from collector.feeds.errors import FeedUnusable
from collector.feeds.lines import lines, tabled
from collector.feeds.rows import BadRow

COLUMNS = ("a", "b", "c")


def test_more_lines_than_a_feed_may_have_make_it_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ROWS_MAX", 2)

    with pytest.raises(FeedUnusable):
        list(lines("x", b"1\n" * 3))


def test_comments_are_lines_where_they_are_asked_for() -> None:
    data = b"\xef\xbb\xbf# a\n\nb\n"

    assert list(lines("x", data)) == [(3, "b")]
    assert list(lines("x", data, comments=True)) == [(1, "# a"), (3, "b")]


@pytest.mark.parametrize("header", ["", "# a,b,c\n", "A, B ,C\n", '# "a","b","c"\n'])
def test_a_table_is_read_with_or_without_a_header(header: str) -> None:
    ((_, cells),) = tabled("x", f"{header}1,None,3\n".encode(), COLUMNS)

    assert cells == {"a": "1", "b": "", "c": "3"}


def test_a_header_says_which_column_is_which() -> None:
    ((_, cells),) = tabled("x", b"# b,x,a\n1,2,3\n", COLUMNS)

    assert cells == {"b": "1", "x": "2", "a": "3"}


def test_a_row_of_a_million_columns_is_refused_and_memory_stays_bounded() -> None:
    data = b"1,2,3\n" + b"x," * 1_000_000 + b"\n4,5,6\n"
    tracemalloc.start()
    try:
        found = list(tabled("x", data, COLUMNS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [isinstance(cells, BadRow) for _, cells in found] == [False, True, False]
    assert peak < 3 * len(data) + 1024 * 1024


@given(data=st.binary() | st.text(alphabet='a,"#\n ').map(str.encode))
def test_any_bytes_are_rows_or_bad_rows(data: bytes) -> None:
    for line, cells in tabled("x", data, COLUMNS):
        assert line > 0
        assert isinstance(cells, BadRow | dict)
