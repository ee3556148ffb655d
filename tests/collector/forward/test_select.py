"""What is forwarded by default, and what never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.forward.event import Checkpoint, EventKind, Origin, Place
from collector.forward.select import checkpoint_event, event_at, select, trial_event
from collector.forward.settings import Filter
from proto.model import (
    Activity,
    Audit,
    Disposition,
    Drop,
    DropReason,
    Health,
    HealthState,
    Incident,
    IncidentStatus,
    Record,
    Rule,
    Severity,
)
from proto.uids import record_uid, show
from tests.collector.builders import NOW, TENANT, an_admitted_batch
from tests.proto.builders import a_finding, an_observation

EVERYTHING = Filter()


def a_health(state: HealthState = HealthState.BLIND) -> Health:
    return Health("processes", state, "no permission", "poll", NOW - 5)


def a_drop(reason: DropReason = DropReason.OVERFLOW, **changes: object) -> Drop:
    return Drop(reason=reason, **changes)  # type: ignore[arg-type]


def an_incident(**changes: object) -> Incident:
    values: dict[str, object] = {
        "uid": b"i" * 16,
        "revision": 2,
        "status": IncidentStatus.UPDATED,
        "severity": Severity.HIGH,
        "title": "Several findings on one host",
        "rule": Rule("several"),
        "rule_digest": b"d" * 32,
        "key": (),
        "first": NOW - 10,
        "last": NOW,
        "count": 5,
        "hosts": (b"h" * 16,),
        "sources": (),
    }
    return Incident(**(values | changes))  # type: ignore[arg-type]


def kinds(*records: Record, wanted: Filter = EVERYTHING, derived: bool = False) -> list[EventKind]:
    return [event.kind for event in select(an_admitted_batch(*records, derived=derived), wanted)]


def test_alerts_health_and_losses_are_forwarded_and_the_rest_stays() -> None:
    audit = Audit("root", "swap", "content", "ok", NOW)

    found = kinds(a_finding(), an_observation(), a_health(), audit, a_drop())

    assert found == [EventKind.FINDING, EventKind.HEALTH, EventKind.DROP]


def test_signals_are_forwarded_on_request_and_shadows_never() -> None:
    records = [a_finding(disposition=disposition) for disposition in Disposition]

    assert len(kinds(*records)) == 1
    assert len(kinds(*records, wanted=Filter(signals=True))) == 2


def test_an_incident_counts_only_in_the_collectors_own_batches() -> None:
    assert kinds(an_incident(), derived=True) == [EventKind.INCIDENT]
    assert kinds(an_incident()) == []


def test_suppressed_repeats_are_no_loss() -> None:
    reasons = [event.value for event in DropReason if kinds(a_drop(event))]

    assert set(reasons) == {reason.value for reason in DropReason} - {"suppressed"}


@pytest.mark.parametrize("severity_min", ["informational", "low", "medium", "high", "critical"])
def test_the_least_severity_holds_for_findings_and_incidents_and_spares_the_unknown(
    severity_min: str,
) -> None:
    wanted = Filter(severity_min=severity_min)  # type: ignore[arg-type]
    records: list[Record] = [a_finding(severity=severity) for severity in Severity]
    records += [an_incident(severity=severity) for severity in Severity]

    found = select(an_admitted_batch(*records, a_health(), a_drop(), derived=True), wanted)

    least = Severity(severity_min).rank
    assert [event.severity.rank for event in found[:-2]] == [0, *range(least, 6)] * 2
    assert [event.kind for event in found[-2:]] == [EventKind.HEALTH, EventKind.DROP]


def test_a_kind_that_is_not_wanted_stays() -> None:
    wanted = Filter(kinds=("health",))

    assert kinds(a_finding(), a_health(), a_drop(), wanted=wanted) == [EventKind.HEALTH]


def test_an_event_id_is_the_record_uid() -> None:
    batch = an_admitted_batch(an_observation(), a_finding(), position=9)

    (event,) = select(batch, EVERYTHING)

    assert event.uid == show(record_uid(TENANT.bytes, batch.records[1].ref))
    assert (event.position, event.index, event.is_last) == (9, 1, True)


def test_what_quarantine_and_derivation_mean_travels_along() -> None:
    (event,) = select(an_admitted_batch(a_finding(), trusted=False), EVERYTHING)
    (derived,) = select(an_admitted_batch(an_incident(), derived=True), EVERYTHING)

    assert (event.origin.trusted, event.origin.derived) == (False, False)
    assert (derived.origin.trusted, derived.origin.derived) == (True, True)


@given(st.integers(0, 12))
def test_what_was_taken_before_is_not_selected_again(taken: int) -> None:
    batch = an_admitted_batch(*[a_finding() for _ in range(10)], position=3)

    found = select(batch, EVERYTHING, taken)

    assert [event.index for event in found] == list(range(min(taken, 10), 10))
    assert not found or found[-1].through == Place(3)


@pytest.mark.parametrize("index", [-1, 2, 1_000])
def test_a_record_that_is_not_there_has_no_event(index: int) -> None:
    assert event_at(an_admitted_batch(a_finding(), a_finding()), index) is None


def test_one_record_is_found_whatever_a_filter_says() -> None:
    batch = an_admitted_batch(a_finding(disposition=Disposition.SIGNAL), an_observation())

    signal, observation = event_at(batch, 0), event_at(batch, 1)

    assert signal is not None
    assert observation is None


def test_a_drop_without_times_happened_when_it_was_sealed() -> None:
    (event,) = select(an_admitted_batch(a_drop(), wall=NOW - 77), EVERYTHING)
    (bounded,) = select(an_admitted_batch(a_drop(first=1, last=2)), EVERYTHING)

    assert (event.time, bounded.time) == (NOW - 77, 2)


def test_a_checkpoint_has_one_id_however_often_it_is_sent() -> None:
    origin = Origin("t", "", "", NOW)

    same = {checkpoint_event(Checkpoint(4, NOW, "note"), origin).uid for _ in range(2)}
    other = checkpoint_event(Checkpoint(5, NOW, "other"), origin).uid

    assert len(same) == 1
    assert other not in same
    assert checkpoint_event(Checkpoint(4, NOW, "note"), origin).through is None


def test_every_trial_has_an_id_of_its_own() -> None:
    origin = Origin("t", "", "", NOW)

    assert trial_event(origin, NOW).uid != trial_event(origin, NOW + 1).uid
    assert trial_event(origin, NOW).through is None


def test_the_end_of_a_finding_is_told_to_whoever_was_told_of_it() -> None:
    closed = a_finding(
        activity=Activity.CLOSE, disposition=Disposition.SIGNAL, severity=Severity.INFORMATIONAL
    )
    shadow = a_finding(activity=Activity.CLOSE, disposition=Disposition.SHADOW)

    events = select(an_admitted_batch(closed, shadow), Filter(severity_min="high"))

    assert len(events) == 1
