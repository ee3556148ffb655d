"""The laws of the report of a run."""

import msgspec

from collector.feeds.report import FeedReport, FeedResult, Outcome


def test_a_report_is_read_back_from_its_json() -> None:
    report = FeedReport(
        outcome=Outcome.PUBLISHED,
        version=1,
        built_at=2,
        indicators=3,
        size=4,
        offline_days_left=5,
        feeds=(FeedResult(name="a", rows=1, accepted=1),),
    )

    assert msgspec.json.decode(msgspec.json.encode(report), type=FeedReport) == report


def test_outcomes_are_stable_words() -> None:
    assert {outcome.value for outcome in Outcome} == {"published", "unchanged", "refused"}
