"""The laws of the ways a feed writes its rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds import formats
from collector.feeds.errors import FeedUnusable
from collector.feeds.formats import FORMATS
from collector.feeds.lines import COLUMNS_MAX, LINE_BYTES_MAX
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

    places = [row.line for row in found]
    assert places == sorted(places)


def test_a_list_without_columns_or_kind_is_unusable() -> None:
    with pytest.raises(FeedUnusable):
        list(formats.read_plain(a_csv(), "list.txt", b"192.0.2.1"))


SAMPLES = {
    FeedFormat.URLHAUS: b'"7","2026-05-27","http://a.example/","online",,"x","y","z","r"\n',
    FeedFormat.THREATFOX: b'{"1":[{"ioc_value":"a.example","ioc_type":"domain"}]}',
    FeedFormat.THREATFOX_CSV: b'"2026-05-27","1","a.example","domain","x"\n',
    FeedFormat.MALWAREBAZAAR: b'"2026-05-27","' + b"a" * 64 + b'","","","x","y"\n',
    FeedFormat.FEODO: b'"2026-05-27","192.0.2.1","447","online",,"Emotet"\n',
    FeedFormat.SSLBL: b"2026-05-27," + b"a" * 40 + b",x\n",
    FeedFormat.SSLBL_JA3: b"a" * 32 + b",2026-05-27,2026-05-27,x\n",
    FeedFormat.SPAMHAUS: b'{"cidr":"192.0.2.0/24","sblid":"x"}\n{"type":"metadata","records":1}\n',
    FeedFormat.MISP: b'{"Event":{"Attribute":[{"type":"domain","value":"a.b","to_ids":true}]}}',
    FeedFormat.MISP_CSV: b"u,1,x,domain,a.example,,1,\n",
    FeedFormat.OTX: b'{"results":[{"indicators":[{"indicator":"a.example","type":"domain"}]}]}',
    FeedFormat.STIX: b'{"objects":[{"type":"indicator","id":"i","pattern":"[file:name = \'a\']"}]}',
    FeedFormat.PLAIN: b"192.0.2.1\n",
    FeedFormat.COUNTED: b"192.0.2.1 3\n",
    FeedFormat.CSV: b"value,kind\n192.0.2.1,ip\n",
}


@pytest.mark.parametrize("format_", FeedFormat)
def test_a_sample_of_each_format_is_read_without_a_bad_row(format_: FeedFormat) -> None:
    found = rows_of(SAMPLES[format_], a_feed(format=format_))

    assert found
    assert all(isinstance(row, FeedRow) for row in found)


@given(
    format_=st.sampled_from(FeedFormat),
    cut=st.integers(0, 80),
    place=st.integers(0, 79),
    byte=st.integers(0, 255),
)
def test_a_file_that_is_cut_or_changed_is_rows_or_an_unusable_feed(
    format_: FeedFormat, cut: int, place: int, byte: int
) -> None:
    data = bytearray(SAMPLES[format_])
    data[place % len(data)] = byte
    try:
        found = rows_of(bytes(data[: len(data) - cut]), a_feed(format=format_))
    except FeedUnusable:
        return

    assert all(isinstance(row, FeedRow | BadRow | LowCount) for row in found)
