"""The laws of the ways a feed writes its rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds import formats
from collector.feeds.errors import FeedUnusable
from collector.feeds.formats import COLUMNS_MAX, FORMATS, LINE_BYTES_MAX
from collector.feeds.rows import BadRow, FeedRow, LowCount
from collector.feeds.settings import FeedFormat
from proto.content.kinds import IndicatorKind
from proto.model import Tlp
from tests.collector.feeds.builders import a_csv, a_feed, rows_of

HEADER = "value,kind,family,confidence,tlp,first_seen,expires,attack\n"
COUNTED = a_feed(format=FeedFormat.COUNTED, count_min=3)


def test_every_format_of_the_settings_has_a_reader() -> None:
    assert set(FORMATS) == set(FeedFormat)


def test_a_plain_list_has_a_value_a_line_and_comments() -> None:
    found = rows_of("\ufeff# a list\r\n\r\n192.0.2.1\r\n  2001:db8::1  \n", a_feed())

    assert found == [
        FeedRow(3, IndicatorKind.IPV4, "192.0.2.1"),
        FeedRow(4, IndicatorKind.IPV6, "2001:db8::1"),
    ]


def test_a_counted_list_turns_counts_into_confidence() -> None:
    found = rows_of("# IP\tnumber\n192.0.2.1\t10\n192.0.2.2 3\n192.0.2.3\t2\n", COUNTED)

    assert found == [
        FeedRow(2, IndicatorKind.IPV4, "192.0.2.1", confidence=100),
        FeedRow(3, IndicatorKind.IPV4, "192.0.2.2", confidence=30),
        LowCount(4),
    ]


@pytest.mark.parametrize("line", ["192.0.2.1", "192.0.2.1 many", "1 2 3", "192.0.2.1\t-4"])
def test_a_counted_row_without_a_count_is_named(line: str) -> None:
    (found,) = rows_of(line, COUNTED)

    assert isinstance(found, BadRow)
    assert (found.file, found.line) == ("list.txt", 1)


def test_a_csv_says_what_its_columns_say() -> None:
    text = HEADER + '"192.0.2.1",ip,"Evil, Inc",90,TLP:GREEN,2026-05-01,2026-06-01,T1071.001\n'

    (found,) = rows_of(text, a_csv())

    assert isinstance(found, FeedRow)
    assert (found.value, found.kind) == ("192.0.2.1", IndicatorKind.IPV4)
    assert (found.family, found.confidence, found.tlp) == ("Evil, Inc", 90, Tlp.GREEN)
    assert found.expires is not None
    assert found.first_seen is not None
    assert found.expires - found.first_seen == 31 * 86_400 * 10**9
    assert found.attack == "T1071.001"


def test_an_empty_or_missing_cell_leaves_the_word_to_the_settings() -> None:
    found = rows_of("kind,value\nip,192.0.2.1\n,192.0.2.2\n", a_csv(kind=a_feed().kind))

    assert [row.confidence for row in found if isinstance(row, FeedRow)] == [None, None]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("192.0.2.1,surprise", "kind"),
        (",ip", "no value"),
        ("192.0.2.1,", "no kind"),
        ('"192.0.2.1,ip', "CSV"),
        ('192.0.2.1,ip,"a"b', "CSV"),
        ("192.0.2.1,ip,,101", "confidence"),
        ("192.0.2.1,ip,,,pink", "TLP"),
        ("192.0.2.1,ip,,,,soon", "time"),
        ("192.0.2.1,ip,,,,,,walking", "technique"),
        ("192.0.2.1,ip" + ",x" * COLUMNS_MAX, "columns"),
        ("x" * (LINE_BYTES_MAX + 1), "longer"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_the_next_one_is_read(line: str, reason: str) -> None:
    bad, good = rows_of(f"{HEADER}{line}\n192.0.2.9,ip\n", a_csv())

    assert isinstance(bad, BadRow)
    assert bad.line == 2
    assert reason in bad.reason
    assert isinstance(good, FeedRow)


def test_bytes_that_are_no_text_are_a_bad_row() -> None:
    bad, good = rows_of(b"\xff\xfe\n192.0.2.1\n", a_feed())

    assert isinstance(bad, BadRow)
    assert isinstance(good, FeedRow)


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "ip,port\n1,2\n", "value\n192.0.2.1\n", "," * 100 + "value"]
)
def test_a_csv_whose_rows_nobody_can_read_is_unusable(text: str) -> None:
    with pytest.raises(FeedUnusable):
        rows_of(text, a_csv())


@given(data=st.binary(max_size=300), format_=st.sampled_from(FeedFormat))
def test_any_bytes_are_rows_or_an_unusable_feed(data: bytes, format_: FeedFormat) -> None:
    try:
        found = rows_of(data, a_feed(format=format_))
    except FeedUnusable:
        return

    lines = [row.line for row in found]
    assert lines == sorted(set(lines))


def test_more_lines_than_a_feed_may_have_make_it_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "ROWS_MAX", 2)

    with pytest.raises(FeedUnusable):
        rows_of("192.0.2.1\n" * 3, a_feed())


def test_a_list_without_columns_or_kind_is_unusable() -> None:
    with pytest.raises(FeedUnusable):
        list(formats.read_plain(a_csv(), "list.txt", b"192.0.2.1"))
