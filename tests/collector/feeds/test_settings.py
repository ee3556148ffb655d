"""The laws of the feeds section."""

import msgspec
import pytest

from collector.feeds.settings import FeedKind, FeedsSettings
from proto.content.kinds import IndicatorKind


def decoded(**source: object) -> FeedsSettings:
    values = {"name": "a", "path": "*.txt", "kind": "sha256"} | source
    return msgspec.convert({"sources": [values]}, FeedsSettings)


def test_a_feed_can_say_every_kind_of_indicator() -> None:
    assert {kind.value for kind in IndicatorKind} < {kind.value for kind in FeedKind}


def test_defaults_are_settings() -> None:
    feed = decoded().sources[0]

    assert (feed.confidence, feed.ttl_days, feed.warninglists.value) == (50, 30, "drop")


@pytest.mark.parametrize(
    "source",
    [
        {"name": "Upper"},
        {"name": "../x"},
        {"path": "/etc/passwd"},
        {"path": "a/../../etc/passwd"},
        {"confidence": 101},
        {"kind": "surprise"},
        {"ttl_days": -1},
        {"warninglists": "maybe"},
        {"surprise": 1},
    ],
)
def test_an_impossible_feed_is_refused_when_it_is_read(source: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(**source)


def test_a_list_without_columns_needs_a_kind() -> None:
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.convert({"sources": [{"name": "a", "path": "x"}]}, FeedsSettings)


def test_two_feeds_of_one_name_are_refused() -> None:
    feed = {"name": "a", "path": "x", "kind": "ipv4"}

    with pytest.raises(msgspec.ValidationError, match="same name"):
        msgspec.convert({"sources": [feed, feed]}, FeedsSettings)
