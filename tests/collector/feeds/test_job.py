"""The laws of the scheduled run."""

import os
from pathlib import Path

import pytest

from collector.feeds.errors import NotInitialised
from collector.feeds.job import run_once
from collector.feeds.publish import Publisher
from collector.feeds.report import FeedReport, Outcome
from collector.feeds.settings import FeedsSettings
from proto.content import build
from tests.collector.feeds.builders import a_feed, some_settings
from tests.fakes.clock import FakeClock


def written(tmp_path: Path, text: str, name: str = "list.txt") -> None:
    path = tmp_path / "lists" / name
    path.write_text(text)
    os.utime(path, ns=(FakeClock().wall, FakeClock().wall))


def addresses(count: int) -> str:
    return "".join(f"198.51.100.{n}\n" for n in range(count))


def begun(tmp_path: Path, clock: FakeClock) -> FeedsSettings:
    settings = some_settings(tmp_path, a_feed())
    Publisher(settings, clock).init(tmp_path / "offline")
    return settings


def test_a_first_run_publishes_what_the_feeds_list(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(9) + "nonsense\n")

    report = run_once(settings, clock)

    assert (report.outcome, report.indicators) == (Outcome.PUBLISHED, 9)
    assert report.version == clock.wall // 10**9
    assert [(feed.accepted, feed.bad) for feed in report.feeds] == [(9, 1)]
    assert Publisher(settings, clock).current() is not None


def test_a_run_without_news_publishes_nothing_but_keeps_signatures_fresh(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(9))
    first = run_once(settings, clock)
    clock.forward(20 * 3600)

    second = run_once(settings, clock)

    assert (second.outcome, second.version) == (Outcome.UNCHANGED, first.version)
    assert second.refreshed == ("timestamp",)


def test_a_list_that_is_confirmed_again_is_published_again(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(9))
    run_once(settings, clock)
    clock.forward(86_400)
    os.utime(tmp_path / "lists" / "list.txt", ns=(clock.wall, clock.wall))

    assert run_once(settings, clock).outcome is Outcome.PUBLISHED


def test_a_half_empty_update_is_refused_and_the_last_release_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(100))
    first = run_once(settings, clock)
    clock.forward(60)
    written(tmp_path, addresses(10))

    refused = run_once(settings, clock)
    forced = run_once(settings, clock, force=True)

    assert (refused.outcome, refused.version) == (Outcome.REFUSED, first.version)
    assert "less than half" in refused.reason
    assert (forced.outcome, forced.indicators) == (Outcome.PUBLISHED, 10)


def test_a_feed_that_vanished_is_reported_and_its_indicators_are_not_quietly_lost(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(100))
    run_once(settings, clock)
    clock.forward(60)
    (tmp_path / "lists" / "list.txt").unlink()

    report = run_once(settings, clock)

    assert report.outcome is Outcome.REFUSED
    assert "there is no" in report.feeds[0].error


def test_a_release_number_never_goes_back_with_the_clock(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(9))
    first = run_once(settings, clock)
    clock.wall -= 1000 * 10**9
    written(tmp_path, addresses(10))

    second: FeedReport = run_once(settings, clock)

    assert second.version == first.version + 1


def test_a_run_needs_a_repository(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, a_feed())
    (tmp_path / "feeds").mkdir()

    with pytest.raises(NotInitialised):
        run_once(settings, FakeClock())


def test_a_build_above_a_limit_is_refused_and_the_last_release_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(9))
    first = run_once(settings, clock)
    written(tmp_path, addresses(20))
    monkeypatch.setattr(build, "INDICATORS_MAX", 10)

    report = run_once(settings, clock)

    assert (report.outcome, report.version) == (Outcome.REFUSED, first.version)
    assert "at most 10" in report.reason


def test_a_collector_without_feeds_keeps_its_signatures_fresh_and_publishes_nothing(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    settings = some_settings(tmp_path)
    Publisher(settings, clock).init(tmp_path / "offline")
    clock.forward(20 * 3600)

    report = run_once(settings, clock)

    assert (report.outcome, report.version) == (Outcome.UNCHANGED, 0)
    assert report.refreshed == ("timestamp",)
    assert Publisher(settings, clock).current() is None


def test_every_report_says_when_the_offline_keys_are_needed(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = begun(tmp_path, clock)
    written(tmp_path, addresses(9))
    clock.forward(10 * 86_400)

    assert run_once(settings, clock).offline_days_left == 20
