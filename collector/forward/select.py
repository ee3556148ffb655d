"""Which records of a batch are forwarded, and what each weighs. Pure.

Forwarded: findings whose disposition is alert, and the end of any (signals on request, shadows
never), incident revisions, changes of health, and drops that mean blindness or loss; suppressed
repeats are no loss.
An incident counts only in the collector's own batches: no agent can send one.
"""

import hashlib
from typing import Self

from msgspec import Struct

from collector.forward.event import Checkpoint, Event, EventKind, Origin, Subject, Trial
from collector.forward.settings import Filter
from collector.ports import AdmittedBatch
from proto.model import (
    Activity,
    Disposition,
    Drop,
    DropReason,
    Finding,
    Health,
    HealthState,
    Incident,
    Record,
    Severity,
)
from proto.uids import record_uid, show

_HEALTH_SEVERITY = {
    HealthState.UNSPECIFIED: Severity.MEDIUM,
    HealthState.OK: Severity.INFORMATIONAL,
    HealthState.DEGRADED: Severity.MEDIUM,
    HealthState.BLIND: Severity.HIGH,
}


class _Told(Struct, frozen=True):
    """What is told of a record, before anyone asked for it."""

    kind: EventKind
    severity: Severity
    time: int | None
    subject: Subject


class _Wish(Struct, frozen=True):
    """A filter, prepared for many records; members of an enum are compared faster than hashed."""

    kinds: tuple[EventKind, ...]
    severities: tuple[Severity, ...]
    signals: bool

    @classmethod
    def of(cls, wanted: Filter) -> Self:
        """Prepare a filter. A severity that we do not know (yet) is no reason to keep silent."""
        least = Severity(wanted.severity_min).rank
        severities = (one for one in Severity if one.rank >= least)
        kinds = tuple(EventKind(kind) for kind in wanted.kinds)
        return cls(kinds, (Severity.UNSPECIFIED, *severities), wanted.signals)

    def holds(self, told: _Told) -> bool:
        """Whether the record is wanted."""
        if told.kind not in self.kinds:
            return False
        match told.subject:
            case Finding() as finding:
                # Whoever was told of a failure is told of its end, however little that weighs.
                if finding.activity is Activity.CLOSE:
                    return finding.disposition is not Disposition.SHADOW
                is_quiet = finding.disposition is Disposition.SIGNAL and not self.signals
                return not is_quiet and finding.severity in self.severities
            case Incident() as incident:
                return incident.severity in self.severities
            case _:
                return True


def origin_of(batch: AdmittedBatch) -> Origin:
    """Return what the events of a batch share."""
    return Origin(
        tenant=str(batch.tenant),
        agent=str(batch.agent),
        host=batch.header.host_name,
        received=batch.received,
        trusted=batch.trusted,
        derived=batch.derived,
    )


def select(batch: AdmittedBatch, wanted: Filter, taken: int = 0) -> list[Event]:
    """Return the events of a batch that a destination gets, in the order of its records.

    Args:
        batch: from below the verified mark.
        wanted: the destination's filter.
        taken: records at the beginning that were dealt with before.
    """
    origin = origin_of(batch)
    wish = _Wish.of(wanted)
    events = []
    for index, admitted in enumerate(batch.records[taken:], start=taken):
        told = _told(admitted.record, derived=batch.derived)
        if told is not None and wish.holds(told):
            events.append(_event(batch, index, origin, told))
    return events


def event_at(batch: AdmittedBatch, index: int) -> Event | None:
    """Return the event of one record, whatever a filter says; None where it can have none."""
    if not 0 <= index < len(batch.records):
        return None
    told = _told(batch.records[index].record, derived=batch.derived)
    return None if told is None else _event(batch, index, origin_of(batch), told)


def checkpoint_event(checkpoint: Checkpoint, origin: Origin) -> Event:
    """Return the event that carries a log's signed head; its id is made from the note."""
    return Event(
        uid=_uid8(b"vedette/checkpoint/1\0" + checkpoint.note.encode()),
        kind=EventKind.CHECKPOINT,
        severity=Severity.INFORMATIONAL,
        time=checkpoint.at,
        origin=origin,
        subject=checkpoint,
    )


def trial_event(origin: Origin, now: int) -> Event:
    """Return a marked event, for trying a destination at a time (nanoseconds UTC)."""
    return Event(
        uid=_uid8(b"vedette/trial/1\0%d" % now + origin.tenant.encode()),
        kind=EventKind.TEST,
        severity=Severity.INFORMATIONAL,
        time=now,
        origin=origin,
        subject=Trial(now),
    )


def _event(batch: AdmittedBatch, index: int, origin: Origin, told: _Told) -> Event:
    return Event(
        uid=show(record_uid(batch.tenant.bytes, batch.records[index].ref)),
        kind=told.kind,
        severity=told.severity,
        time=batch.header.wall if told.time is None else told.time,
        origin=origin,
        subject=told.subject,
        position=batch.position,
        index=index,
        is_last=index == len(batch.records) - 1,
    )


def _told(record: Record, *, derived: bool) -> _Told | None:
    """Return what a record tells those outside; None where it stays in the ledger."""
    match record:
        case Finding(disposition=Disposition.ALERT | Disposition.SIGNAL):
            return _Told(EventKind.FINDING, record.severity, record.event_time, record)
        case Incident() if derived:
            return _Told(EventKind.INCIDENT, record.severity, record.last, record)
        case Health():
            return _Told(EventKind.HEALTH, _HEALTH_SEVERITY[record.state], record.at, record)
        case Drop() if record.reason is not DropReason.SUPPRESSED:
            time = record.first if record.last is None else record.last
            return _Told(EventKind.DROP, Severity.MEDIUM, time, record)
        case _:
            return None


def _uid8(data: bytes) -> str:
    """Return a UUIDv8 (RFC 9562) over what names an event that is no record."""
    raw = bytearray(hashlib.sha256(data).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return show(bytes(raw))
