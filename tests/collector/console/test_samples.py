"""The rooms' numbers become samples that the table knows."""

from collector.console.metrics import folded
from collector.console.ports import Check
from collector.console.samples import (
    check_samples,
    forward_samples,
    index_samples,
    projection_samples,
)
from collector.forward.figures import figures
from collector.forward.states import Phase
from collector.projection import Lag
from tests.collector.builders import NOW
from tests.collector.forward.test_figures import a_status


def test_a_destination_has_its_lag_counts_and_phase() -> None:
    status = a_status(7, NOW - 60_000_000_000, phase=Phase.PARKED, degraded="no ids")

    series = folded(forward_samples("t", figures(status, 10, NOW)))

    assert series["forward_lag_batches"] == {("t", "splunk"): 3}
    assert series["forward_oldest_event_age_seconds"] == {("t", "splunk"): 60}
    assert series["forward_events_total"]["t", "splunk", "unconfirmable"] == 3
    assert series["forward_dead_letters"] == {("t", "splunk"): 6}
    assert series["forward_degraded"] == {("t", "splunk"): 1}
    assert {labels[2]: on for labels, on in series["forward_phase"].items()} == {
        "running": 0,
        "waiting": 0,
        "parked": 1,
        "stalled": 0,
    }


def test_a_projection_has_its_lag() -> None:
    series = folded(projection_samples("t", "index", Lag(4, 2.5, 1, 0)))

    assert series["projection_lag_batches"] == {("t", "index"): 4}
    assert series["projection_lag_seconds"] == {("t", "index"): 2.5}
    assert series["projection_poisoned_batches"] == {("t", "index"): 0}


def test_the_index_and_the_checks_are_counted() -> None:
    series = folded(
        [
            *index_samples("t", {"hosts": 2, "findings": 9}),
            *check_samples([Check("ledger", ok=True), Check("disk", ok=False)]),
        ]
    )

    assert series["index_rows"] == {("t", "hosts"): 2, ("t", "findings"): 9}
    assert series["ready"] == {("ledger",): 1, ("disk",): 0}
