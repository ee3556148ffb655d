"""The laws of the fields of a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds import rows
from collector.feeds.settings import FeedKind
from proto.content.errors import BadValue
from proto.content.kinds import IndicatorKind
from proto.model import Tlp

MAY_2026 = 1_777_593_600 * 10**9


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sha256", FeedKind.SHA256),
        ("SHA256_hash", FeedKind.SHA256),
        ("ip:port", FeedKind.IP_PORT),
        (" ip-dst ", FeedKind.ADDRESS),
        ("filename", FeedKind.FILE_NAME),
    ],
)
def test_a_kind_is_known_under_the_names_that_feeds_give_it(text: str, kind: FeedKind) -> None:
    assert rows.read_kind(text) is kind


def test_an_address_is_told_by_its_shape_only_where_the_feed_does_not_say() -> None:
    assert rows.kind_of(FeedKind.ADDRESS, "192.0.2.0/24") is IndicatorKind.CIDR
    assert rows.kind_of(FeedKind.IPV4, "192.0.2.0/24") is IndicatorKind.IPV4


@pytest.mark.parametrize(
    ("text", "tlp"),
    [
        ("TLP:AMBER+STRICT", Tlp.AMBER_STRICT),
        ("tlp:white", Tlp.CLEAR),
        ("clear", Tlp.CLEAR),
        ("Red", Tlp.RED),
    ],
)
def test_a_tlp_label_is_read_in_every_spelling(text: str, tlp: Tlp) -> None:
    assert rows.read_tlp(text) is tlp


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01",
        "2026-05-01T00:00:00Z",
        "2026-05-01 00:00:00 UTC",
        "2026-05-01T02:00:00+02:00",
        "1777593600",
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert rows.read_time(text) == MAY_2026


@pytest.mark.parametrize("text", ["yesterday", "", "0001-01-01", "1969-12-31", "9" * 40])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        rows.read_time(text)


def test_techniques_are_separated_by_single_spaces() -> None:
    assert rows.read_attack("T1071.001,T1059  T1105") == "T1071.001 T1059 T1105"
    with pytest.raises(BadValue):
        rows.read_attack("T1071 lateral")


@given(text=st.text())
def test_any_text_is_a_field_or_a_bad_value(text: str) -> None:
    for read in (
        rows.read_kind,
        rows.read_confidence,
        rows.read_tlp,
        rows.read_time,
        rows.read_attack,
    ):
        try:
            read(text)
        except BadValue:
            continue


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (FeedKind.HOST, "evil[.]example", IndicatorKind.DOMAIN),
        (FeedKind.HOST, "192.0.2.1", IndicatorKind.IPV4),
        (FeedKind.ANY, "hxxp://evil.example/x", IndicatorKind.URL),
        (FeedKind.ANY, "a" * 64, IndicatorKind.SHA256),
        (FeedKind.DOMAIN, "evil.example", IndicatorKind.DOMAIN),
    ],
)
def test_a_kind_that_says_less_is_told_by_the_value(
    kind: FeedKind, value: str, told: IndicatorKind
) -> None:
    assert rows.kind_of(kind, value) is told
