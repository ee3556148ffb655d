"""How forwarding is, as plain numbers."""

import pytest

from collector.forward.event import Place
from collector.forward.figures import figures
from collector.forward.states import SETTLED, Phase
from collector.forward.store import Status
from tests.collector.builders import NOW


def a_status(position: int, oldest: int | None = None, **changes: object) -> Status:
    values: dict[str, object] = {
        "name": "splunk",
        "cursor": Place(position),
        "log_size": 0,
        "counts": dict(zip(SETTLED, (1, 2, 3, 4), strict=True)),
        "resent": 5,
        "letters": 6,
        "phase": Phase.RUNNING,
        "detail": "",
        "degraded": "",
        "oldest": oldest,
        "changed": NOW,
    }
    return Status(**(values | changes))  # type: ignore[arg-type]


def test_lag_is_what_lies_between_the_cursor_and_the_mark() -> None:
    assert figures(a_status(7), mark=10, now=NOW).lag_batches == 3
    assert figures(a_status(12), mark=10, now=NOW).lag_batches == 0


def test_age_is_that_of_the_oldest_event_under_way() -> None:
    oldest = NOW - 90_000_000_000

    assert figures(a_status(7, oldest), 10, NOW).oldest_age_s == pytest.approx(90)
    assert figures(a_status(10, oldest), 10, NOW).oldest_age_s == 0
    assert figures(a_status(7), 10, NOW).oldest_age_s == 0
    assert figures(a_status(7, NOW + 5), 10, NOW).oldest_age_s == 0


def test_counts_and_reasons_are_as_written() -> None:
    found = figures(a_status(1, phase=Phase.PARKED, detail="token", degraded="ids"), 1, NOW)

    assert (found.accepted, found.confirmed, found.unconfirmable, found.dead) == (1, 2, 3, 4)
    assert (found.resent, found.letters, found.phase) == (5, 6, Phase.PARKED)
    assert (found.is_degraded, found.detail) == (True, "token")
