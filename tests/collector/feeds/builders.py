"""Feeds, lists and repositories for the tests of threat intel."""

import os
from pathlib import Path

import msgspec
import pytest

from collector.feeds.compile import Compiled, FeedFile, FeedInput, compile_content
from collector.feeds.formats import FORMATS
from collector.feeds.publish import Publisher
from collector.feeds.rows import Read
from collector.feeds.settings import FeedFormat, FeedKind, FeedSettings, FeedsSettings
from collector.feeds.warninglists import WarningList, WarningLists, read_warninglist
from tests.fakes.clock import FakeClock

NOW = FakeClock().wall
DAY_NS = 86_400 * 10**9


def a_feed(**changes: object) -> FeedSettings:
    values: dict[str, object] = {"name": "testfeed", "path": "*.txt", "kind": FeedKind.ADDRESS}
    return FeedSettings(**(values | changes))  # type: ignore[arg-type]


def an_input(text: str | bytes, feed: FeedSettings | None = None) -> FeedInput:
    data = text if isinstance(text, bytes) else text.encode()
    return FeedInput(feed or a_feed(), (FeedFile("list.txt", data, NOW),))


def a_list(*entries: str, **changes: object) -> WarningList:
    values: dict[str, object] = {
        "name": "harmless",
        "type": "cidr",
        "version": 1,
        "list": entries,
        "matching_attributes": ["ip-src", "ip-dst"],
    }
    return read_warninglist(msgspec.json.encode(values | changes))


def compiled(*feeds: FeedInput, lists: tuple[WarningList, ...] = (), version: int = 1) -> Compiled:
    return compile_content(feeds, WarningLists(lists), version, NOW)


def rows_of(text: str | bytes, feed: FeedSettings) -> list[Read]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(FORMATS[feed.format](feed, "list.txt", data))


def a_csv(**changes: object) -> FeedSettings:
    return a_feed(**({"format": FeedFormat.CSV, "kind": None} | changes))


def some_settings(tmp_path: Path, *feeds: FeedSettings, **changes: object) -> FeedsSettings:
    lists = tmp_path / "lists"
    lists.mkdir(exist_ok=True)
    values: dict[str, object] = {"lists": str(lists), "state": str(tmp_path / "feeds")}
    return FeedsSettings(sources=feeds, **(values | changes))  # type: ignore[arg-type]


def a_publisher(tmp_path: Path, clock: FakeClock, **changes: object) -> Publisher:
    publisher = Publisher(some_settings(tmp_path, **changes), clock)
    publisher.init(tmp_path / "offline")
    return publisher


def a_bundle(count: int = 10, version: int = 1) -> bytes:
    text = "\n".join(f"198.51.{n >> 8}.{n & 255}" for n in range(1, count + 1))
    return compiled(an_input(text), version=version).data


def public_intel() -> Path:
    """Where the published lists are; skips the test where they are not."""
    found = Path(os.environ.get("VEDETTE_TEST_DATA", "../shared/data")) / "intel"
    if not found.is_dir():
        pytest.skip(f"no published lists at {found} (set VEDETTE_TEST_DATA)")
    return found
