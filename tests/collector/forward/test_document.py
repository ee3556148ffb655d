"""An event as plain data loses no meaning and carries no bytes."""

import json
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from msgspec import UNSET

from collector.forward.document import document, plausible_time, seconds
from collector.forward.event import Checkpoint, Origin
from collector.forward.select import checkpoint_event, event_at, trial_event
from proto.model import (
    Attack,
    Check,
    CheckState,
    ContentStamp,
    Drop,
    DropReason,
    Entity,
    File,
    Finding,
    Freshness,
    Health,
    HealthState,
    Incident,
    Indicator,
    RecordRef,
    Role,
)
from proto.uids import record_uid, show
from tests.collector.builders import NOW, TENANT, an_admitted_batch
from tests.collector.forward.builders import an_event
from tests.collector.forward.test_select import an_incident
from tests.proto.builders import a_finding, a_process, values_of

ENCODER = msgspec.json.Encoder()


def said(record: object, **batch: object) -> dict[str, object]:
    event = an_event(record, **batch)  # type: ignore[arg-type]
    return json.loads(ENCODER.encode(document(event, NOW + 9_000_000_000)))  # type: ignore[no-any-return]


@given(values_of(Finding) | values_of(Health) | values_of(Drop))
def test_any_record_is_json_without_bytes(record: Finding | Health | Drop) -> None:
    event = event_at(an_admitted_batch(record), 0)
    if event is None:  # one that is not forwarded
        return

    plain = msgspec.to_builtins(document(event, NOW), builtin_types=(bytes,))

    assert not _has_bytes(plain)
    assert json.loads(ENCODER.encode(document(event, NOW)))["event_id"] == event.uid


@given(values_of(Incident))
def test_any_incident_is_json_without_bytes(incident: Incident) -> None:
    event = event_at(an_admitted_batch(incident, derived=True), 0)
    assert event is not None

    plain = document(event, NOW)

    assert not _has_bytes(msgspec.to_builtins(plain, builtin_types=(bytes,)))
    assert plain["finding_id"] == plain["incident_uid"] == show(incident.uid)


def test_a_finding_says_who_when_where_and_how_sure() -> None:
    plain = said(
        a_finding(
            indicator=Indicator("sha256", "ab" * 32, "feed", 80, expires=NOW),
            attack=(Attack("17.0", "T1204.002", "execution"),),
            content=(ContentStamp("indicators", "7", 3_600_000_000_000, Freshness.STALE),),
            count=3,
        )
    )

    assert UUID(str(plain["event_id"])).version == 8
    assert plain["severity_id"] == 4
    assert plain["count"] == 3
    assert plain["intel"] == "stale"
    assert plain["content"] == [
        {"name": "indicators", "version": "7", "age_s": 3600, "freshness": "stale"}
    ]
    assert plain["attack"] == [{"version": "17.0", "technique": "T1204.002", "tactic": "execution"}]
    assert plain["forwarded_time"] == pytest.approx(NOW / 1e9 + 9)
    assert plain["trusted"] is True


def test_a_batch_of_an_agent_in_quarantine_is_flagged() -> None:
    assert said(a_finding(), trusted=False)["trusted"] is False


def test_hashes_are_hexadecimal_and_what_was_not_collected_is_left_out() -> None:
    file = File("/srv/x", sha256=b"\xab" * 32, size=None, owner=UNSET)
    process = a_process(sha256=None, cwd=UNSET)

    plain = said(a_finding(entities=(Entity(Role.TARGET, file),), process=process))

    (entity,) = plain["entities"]  # type: ignore[misc]
    assert entity["sha256"] == "ab" * 32  # type: ignore[has-type]
    assert entity["size"] is None  # type: ignore[has-type]
    assert "owner" not in entity  # type: ignore[has-type]
    assert plain["process"]["sha256"] is None  # type: ignore[index]
    assert "cwd" not in plain["process"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("freshness", "intel"),
    [
        ((), "none"),
        ((Freshness.FRESH,), "fresh"),
        ((Freshness.FRESH, Freshness.STALE), "stale"),
        ((Freshness.EXPIRED, Freshness.STALE), "expired"),
    ],
)
def test_intel_is_as_old_as_its_oldest_part(freshness: tuple[Freshness, ...], intel: str) -> None:
    content = tuple(ContentStamp("x", "1", 0, one) for one in freshness)

    assert said(a_finding(content=content))["intel"] == intel


def test_an_incident_names_its_sources_by_event_id() -> None:
    ref = RecordRef(b"a" * 16, b"e" * 16, 7, 3)

    plain = said(an_incident(sources=(ref,)), derived=True)

    assert plain["sources"] == [show(record_uid(TENANT.bytes, ref))]
    assert (plain["revision"], plain["status"]) == (2, "updated")


def test_a_posture_finding_names_its_evidence() -> None:
    check = Check("ssh.root", "1", CheckState.FAIL, "allowed", (b"\x01" * 32,), 1, 1)

    plain = said(a_finding(check=check))

    assert plain["check"]["evidence"] == ["01" * 32]  # type: ignore[index]
    assert plain["check"]["state"] == "fail"  # type: ignore[index]


def test_health_and_loss_say_what_and_why() -> None:
    health = said(Health("dns", HealthState.BLIND, "no packet socket", "none", NOW))
    drop = said(Drop(reason=DropReason.EVICTED, epoch=b"e" * 16, first_seq=1, last_seq=9, count=5))

    assert (health["title"], health["reason"]) == ("Sensor health: blind", "no packet socket")
    assert (drop["title"], drop["count"], drop["last_seq"]) == ("Records missing: evicted", 5, 9)


def test_a_trial_says_that_nothing_was_found() -> None:
    plain = document(trial_event(Origin("t", "", "", NOW), NOW), NOW)

    assert (plain["kind"].value, plain["title"]) == (
        "test",
        "Vedette test event: nothing was found",
    )


def test_a_checkpoint_is_whole() -> None:
    event = checkpoint_event(Checkpoint(3, NOW, "signed\n"), Origin("t", "", "", NOW))

    assert document(event, NOW)["note"] == "signed\n"


@pytest.mark.parametrize("time", [0, 946_684_799_999_999_999, NOW + 2 * 86_400 * 10**9])
def test_an_implausible_time_is_replaced_by_that_of_receipt(time: int) -> None:
    event = an_event(a_finding(event_time=time))

    assert plausible_time(event) == event.origin.received


def test_seconds_are_exact_to_the_microsecond() -> None:
    assert seconds(1_790_000_000_123_456_789) == 1_790_000_000.123456


def _has_bytes(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_bytes(item) for item in value)
    return isinstance(value, bytes)
