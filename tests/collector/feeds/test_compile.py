"""The laws of compiling feeds."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds.compile import FeedFile, FeedInput, source_digest
from collector.feeds.report import BAD_ROWS_SHOWN_MAX
from collector.feeds.settings import FeedFormat, FeedKind, WarningPolicy
from collector.feeds.sources import read_feeds, read_warninglists
from collector.feeds.warninglists import WarningLists
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from proto.content.records import NS_PER_HOUR
from proto.model import Tlp
from tests.collector.feeds.builders import (
    DAY_NS,
    NOW,
    a_csv,
    a_feed,
    a_list,
    an_input,
    compiled,
    public_intel,
    some_settings,
)
from tests.proto.content.builders import EICAR

PRIVATE = a_list("10.0.0.0/8")


def test_a_list_becomes_an_index_with_the_words_of_its_settings() -> None:
    feed = a_feed(family="Mirai", confidence=77, tlp=Tlp.AMBER, attack="T1071")

    (row,) = MappedIndex(compiled(an_input("192.0.2.1", feed)).data).lookup_address(
        "192.0.2.1", None
    )

    told = row.provenance
    assert (told.feed, told.family, told.confidence) == ("testfeed", "Mirai", 77)
    assert (told.tlp, told.attack, told.warning) == (Tlp.AMBER, "T1071", "")
    assert told.expires is not None
    assert 0 <= told.expires - (NOW + 30 * DAY_NS) < NS_PER_HOUR


def test_a_row_has_the_last_word() -> None:
    text = "value,kind,family,confidence\n192.0.2.1,ip,Qakbot,12\n"

    data = compiled(an_input(text, a_csv(family="Mirai", confidence=77))).data

    (row,) = MappedIndex(data).lookup(IndicatorKind.IPV4, "192.0.2.1")
    assert (row.provenance.family, row.provenance.confidence) == ("Qakbot", 12)


def test_the_same_input_gives_the_same_index() -> None:
    feeds = [an_input("192.0.2.1\n192.0.2.2"), an_input(EICAR, a_feed(kind=FeedKind.SHA256))]

    assert compiled(*feeds).data == compiled(*feeds).data


def test_the_source_digest_tells_every_change_of_what_goes_in() -> None:
    base, lists = an_input("192.0.2.1"), WarningLists([])
    later = FeedInput(a_feed(), (FeedFile("list.txt", b"192.0.2.1", NOW + NS_PER_HOUR),))

    digests = {
        source_digest([base], lists),
        source_digest([an_input("192.0.2.2")], lists),
        source_digest([an_input("192.0.2.1", a_feed(confidence=51))], lists),
        source_digest([base, base], lists),
        source_digest([base], WarningLists([PRIVATE])),
        source_digest([later], lists),
    }

    assert len(digests) == 6
    assert source_digest([base], lists) in digests


def test_every_row_is_counted_once() -> None:
    feed = a_feed(format=FeedFormat.COUNTED, count_min=2)
    text = "192.0.2.1 5\n10.0.0.1 5\n192.0.2.2 1\nnonsense 5\n192.0.2.3\n"

    (result,) = compiled(an_input(text, feed), lists=(PRIVATE,)).feeds

    assert result.rows == 5
    assert (result.accepted, result.dropped, result.low_count, result.bad) == (1, 1, 1, 2)
    assert [(row.line, row.file) for row in result.bad_rows] == [
        (4, "list.txt"),
        (5, "list.txt"),
    ]


def test_a_harmless_value_is_dropped_annotated_or_left_alone_as_the_feed_says() -> None:
    seen = {}
    for policy in WarningPolicy:
        made = compiled(an_input("10.0.0.1", a_feed(warninglists=policy)), lists=(PRIVATE,))
        rows = MappedIndex(made.data).lookup_address("10.0.0.1", None)
        seen[policy] = [row.provenance.warning for row in rows]

    assert seen == {
        WarningPolicy.DROP: [],
        WarningPolicy.ANNOTATE: ["harmless"],
        WarningPolicy.IGNORE: [""],
    }


def test_a_harmless_digest_is_dropped_too() -> None:
    known = a_list(EICAR, type="string", matching_attributes=["sha256"])

    made = compiled(an_input(EICAR.upper(), a_feed(kind=FeedKind.SHA256)), lists=(known,))

    assert made.indicators == 0
    assert made.feeds[0].dropped == 1


def test_the_report_names_the_lists_that_touched_a_feed() -> None:
    dropped = compiled(an_input("10.0.0.1\n10.0.0.2"), lists=(PRIVATE,)).feeds[0]
    annotated = compiled(
        an_input("10.0.0.1", a_feed(warninglists=WarningPolicy.ANNOTATE)), lists=(PRIVATE,)
    ).feeds[0]

    assert [(one.name, one.count) for one in dropped.dropped_by] == [("harmless", 2)]
    assert (annotated.accepted, annotated.annotated, annotated.rows) == (1, 1, 1)
    assert [(one.name, one.count) for one in annotated.annotated_by] == [("harmless", 1)]


def test_entries_of_a_list_that_cannot_be_used_are_in_the_report() -> None:
    made = compiled(an_input("192.0.2.1"), lists=(a_list("10.0.0.0/99"),))

    assert [(one.name, one.bad) for one in made.warninglists] == [("harmless", 1)]


def test_what_has_expired_is_left_out_and_counted() -> None:
    text = "value,expires\n192.0.2.1,2020-01-01\n192.0.2.2,2100-01-01\n"

    made = compiled(an_input(text, a_csv(kind=FeedKind.IPV4)))

    assert made.feeds[0].expired == 1
    assert made.indicators == 1


def test_a_list_that_nobody_confirmed_for_its_time_to_live_expires() -> None:
    old = FeedFile("list.txt", b"192.0.2.1", NOW - 31 * DAY_NS)

    assert compiled(FeedInput(a_feed(), (old,))).indicators == 0
    assert compiled(FeedInput(a_feed(ttl_days=0), (old,))).indicators == 1


def test_one_unusable_feed_is_reported_and_the_others_are_compiled() -> None:
    made = compiled(an_input("no,header\n1,2\n", a_csv()), an_input("192.0.2.1"))

    assert "value" in made.feeds[0].error
    assert made.feeds[1].accepted == 1
    assert made.indicators == 1


def test_bad_rows_are_all_counted_and_a_bounded_number_is_named() -> None:
    (result,) = compiled(an_input("nonsense\n" * 500)).feeds

    assert result.bad == 500
    assert len(result.bad_rows) == BAD_ROWS_SHOWN_MAX


@given(data=st.binary(max_size=300), format_=st.sampled_from(FeedFormat))
def test_any_bytes_compile_and_every_row_has_one_fate(data: bytes, format_: FeedFormat) -> None:
    (result,) = compiled(an_input(data, a_feed(format=format_))).feeds

    fates = (result.accepted, result.bad, result.low_count, result.expired, result.dropped)
    assert sum(fates) == result.rows


def test_the_published_lists_compile_without_a_bad_row(tmp_path: Path) -> None:
    intel = public_intel()
    with gzip.open(intel / "ipsum.txt.gz", "rt") as file:
        head = [line for line, _ in zip(file, range(6000), strict=False)]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "ipsum.txt.gz").write_bytes(gzip.compress("".join(head).encode()))
    (tmp_path / "lists" / "c2.txt").write_text((intel / "threatfox-ips.txt").read_text())
    settings = some_settings(
        tmp_path,
        a_feed(name="ipsum", path="ipsum.txt.gz", format=FeedFormat.COUNTED),
        a_feed(name="c2", path="c2.txt", warninglists=WarningPolicy.ANNOTATE),
        warninglists=str(intel / "warninglists"),
    )

    made = compiled(*read_feeds(settings), lists=read_warninglists(settings).lists)

    assert [result.error for result in made.feeds] == ["", ""]
    assert [result.bad for result in made.feeds] == [0, 0]
    assert made.indicators > 20_000
    assert len(made.data) / made.indicators <= 13


@pytest.mark.parametrize("value", ["2a02:cf40:1::5:40669", "[2a02:cf40:1::5]:40669"])
def test_an_ipv6_endpoint_is_found_however_the_feed_writes_it(value: str) -> None:
    index = MappedIndex(compiled(an_input(value)).data)

    assert index.lookup_address("2a02:cf40:1::5", 40669)
    assert not index.lookup_address("2a02:cf40:1::5", 40670)


@pytest.mark.parametrize("below", [True, False])
def test_a_listed_domain_stands_for_what_lies_below_it_as_the_feed_wants(below: bool) -> None:
    feed = a_feed(kind=FeedKind.DOMAIN, subdomains=below)
    index = MappedIndex(compiled(an_input("evil[.]example\n", feed)).data)

    assert index.lookup_name("evil.example")
    assert bool(index.lookup_name("www.evil.example")) is below
