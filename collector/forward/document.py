"""An event as plain data: names, numbers and text that any JSON format can carry. Pure.

This is the product's own schema; sinks that speak another map from here. Ids and hashes are text.
Times are seconds since 1970 UTC, to the microsecond. What was looked for and is not there is null;
what was not collected is left out. Everything a host says stands in values, never in names.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import to_builtins

from collector.forward.event import Checkpoint, Event, Trial
from proto.model import (
    Check,
    ContentStamp,
    Drop,
    Entity,
    File,
    Finding,
    Freshness,
    Health,
    Incident,
    Persistence,
    Process,
    Thing,
)
from proto.uids import record_uid, show

Plain = dict[str, Any]

NS_PER_DAY = 86_400_000_000_000
NS_OF_2000 = 946_684_800_000_000_000
_FRESHNESS = (Freshness.EXPIRED, Freshness.STALE, Freshness.UNSPECIFIED, Freshness.FRESH)
NO_INTEL = "none"


def document(event: Event, now: int) -> Plain:
    """Return an event as plain data.

    Args:
        event: what to tell.
        now: when it is forwarded, nanoseconds UTC; differs when it is sent again, the id does not.
    """
    origin = event.origin
    plain: Plain = {
        "event_id": event.uid,
        "kind": event.kind,
        "severity": event.severity,
        "severity_id": event.severity.rank,
        "event_time": seconds(event.time),
        "received_time": seconds(origin.received),
        "forwarded_time": seconds(now),
        "tenant": origin.tenant,
        "agent": origin.agent,
        "host": origin.host,
        "trusted": origin.trusted,
    }
    match event.subject:
        case Finding():
            _finding(plain, event.subject)
        case Incident():
            _incident(plain, event.subject, bytes.fromhex(origin.tenant.replace("-", "")))
        case Health():
            _health(plain, event.subject)
        case Drop():
            _drop(plain, event.subject)
        case Checkpoint():
            _checkpoint(plain, event.subject)
        case Trial():
            plain["title"] = "Vedette test event: nothing was found"
    return plain


def seconds(time: int) -> float:
    """Return nanoseconds as seconds, to the microsecond."""
    return time // 1000 / 1_000_000


def plausible_time(event: Event) -> int:
    """Return the event time, or the time of receipt where a host's clock is plainly wrong.

    Receivers file events by time: one from 1970, or from next year, would never be seen.
    """
    received = event.origin.received
    return event.time if NS_OF_2000 <= event.time <= received + NS_PER_DAY else received


def _finding(plain: Plain, finding: Finding) -> None:
    plain["finding_id"] = show(finding.key)
    plain["title"] = finding.title
    plain["finding_kind"] = finding.kind
    plain["activity"] = finding.activity
    plain["disposition"] = finding.disposition
    plain["confidence"] = finding.confidence
    plain["rule"] = finding.rule
    plain["observed_time"] = seconds(finding.observed_at)
    plain["event_precision"] = finding.event_precision
    plain["source"] = finding.source
    plain["intel"] = _intel(finding.content)
    plain["count"] = finding.count
    _surroundings(plain, finding)
    if finding.indicator is not None:
        plain["indicator"] = to_builtins(finding.indicator)
        _times(plain["indicator"], ("first_seen", "expires"))
    if finding.check is not None:
        plain["check"] = _check(finding.check)
    if finding.content:
        plain["content"] = [_stamp(stamp) for stamp in finding.content]


def _surroundings(plain: Plain, finding: Finding) -> None:
    if finding.attack:
        plain["attack"] = finding.attack
    if finding.entities:
        plain["entities"] = [_entity(entity) for entity in finding.entities]
    if finding.process is not None:
        plain["process"] = _thing(finding.process)
    if finding.login is not None:
        plain["login"] = finding.login
    if finding.arguments:
        plain["arguments"] = finding.arguments
    if finding.ancestry:
        plain["ancestry"] = [_thing(process) for process in finding.ancestry]


def _incident(plain: Plain, incident: Incident, tenant: bytes) -> None:
    plain["incident_uid"] = show(incident.uid)
    plain["finding_id"] = plain["incident_uid"]
    plain["revision"] = incident.revision
    plain["status"] = incident.status
    plain["title"] = incident.title
    plain["rule"] = incident.rule
    plain["rule_digest"] = incident.rule_digest.hex()
    plain["first_time"] = seconds(incident.first)
    plain["last_time"] = seconds(incident.last)
    plain["count"] = incident.count
    plain["arguments"] = incident.key
    plain["attack"] = incident.attack
    plain["hosts"] = [show(host) for host in incident.hosts]
    plain["sources"] = [show(record_uid(tenant, ref)) for ref in incident.sources]
    plain["sources_omitted"] = incident.sources_omitted


def _health(plain: Plain, health: Health) -> None:
    plain["title"] = f"Sensor health: {health.state.value}"
    plain["subject"] = health.subject
    plain["status"] = health.state
    plain["reason"] = health.reason
    plain["rung"] = health.rung
    plain["last_success_time"] = (
        None if health.last_success is None else seconds(health.last_success)
    )


def _drop(plain: Plain, drop: Drop) -> None:
    plain["title"] = f"Records missing: {drop.reason.value}"
    plain["reason"] = drop.reason
    plain["sensor"] = drop.sensor
    plain["count"] = drop.count
    plain["first_time"] = None if drop.first is None else seconds(drop.first)
    plain["last_time"] = None if drop.last is None else seconds(drop.last)
    if drop.epoch is not None:
        plain["epoch"] = show(drop.epoch)
        plain["first_seq"] = drop.first_seq
        plain["last_seq"] = drop.last_seq
    plain["detail"] = drop.detail


def _checkpoint(plain: Plain, checkpoint: Checkpoint) -> None:
    plain["title"] = "Transparency log checkpoint"
    plain["log_size"] = checkpoint.size
    plain["note"] = checkpoint.note


def _intel(stamps: Sequence[ContentStamp]) -> str:
    """Return how fresh the oldest content behind a finding is."""
    found = [stamp.freshness for stamp in stamps]
    return min(found, key=_FRESHNESS.index).value if found else NO_INTEL


def _stamp(stamp: ContentStamp) -> Plain:
    return {
        "name": stamp.name,
        "version": stamp.version,
        "age_s": stamp.age // 1_000_000_000,
        "freshness": stamp.freshness,
    }


def _check(check: Check) -> Plain:
    return {
        "id": check.id,
        "version": check.version,
        "state": check.state,
        "reason": check.reason,
        "references": check.references,
        "evidence": [digest.hex() for digest in check.evidence],
    }


def _entity(entity: Entity) -> Plain:
    return {"role": entity.role, **_thing(entity.value)}


def _thing(thing: Thing) -> Plain:
    plain: Plain = to_builtins(thing, builtin_types=(bytes,))
    match thing:
        case Process():
            plain["boot_id"] = thing.boot_id.hex()
            plain["start"] = seconds(thing.start)
            _hashes(plain, "sha256", "script_sha256")
        case File():
            _times(plain, ("changed",))
            _hashes(plain, "sha256")
        case Persistence():
            _hashes(plain, "sha256")
        case _:
            pass
    return plain


def _hashes(plain: Plain, *names: str) -> None:
    for name in names:
        if isinstance(plain.get(name), bytes):
            plain[name] = plain[name].hex()
    if not plain["caveats"]:
        del plain["caveats"]


def _times(plain: Plain, names: Iterable[str]) -> None:
    for name in names:
        if plain.get(name) is not None:
            plain[name] = seconds(plain[name])
