"""Correlation as a projection: signals and episodes in a database, incidents out of it.

Only trusted batches of hosts count: what an agent in quarantine says, or what the collector has
derived itself, never makes an incident. The incidents that were sealed are read back all the same:
a rebuild has no clock, so when an episode was closed stands in the ledger alone.
"""

import sqlite3
from collections.abc import Sequence

from msgspec import Struct, structs

from certs.identity import TenantId
from collector.correlate import core
from collector.correlate.core import Episode, Signal
from collector.correlate.rules import RULES, CountRule
from collector.ports import Admitted, AdmittedBatch
from proto.model import Finding, Incident, IncidentStatus, Record, RecordRef
from proto.uids import incident_uid
from runtime.clock import NS_PER_S

SCHEMA = """
CREATE TABLE signals (
    rule TEXT NOT NULL, host BLOB NOT NULL, event_time INTEGER NOT NULL, epoch BLOB NOT NULL,
    seq INTEGER NOT NULL, place INTEGER NOT NULL, finding_rule TEXT NOT NULL,
    count INTEGER NOT NULL, attack_version TEXT, technique TEXT, tactic TEXT,
    PRIMARY KEY (rule, host, event_time, epoch, seq, place)
) WITHOUT ROWID;
CREATE INDEX signals_by_time ON signals (event_time);
CREATE TABLE episodes (
    rule TEXT NOT NULL, host BLOB NOT NULL, number INTEGER NOT NULL, revision INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL, rules INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    PRIMARY KEY (rule, host, number)
) WITHOUT ROWID;
"""
# Signals of one host that a single decision looks at; the rest of a flood is only counted.
SIGNALS_MAX = 2_000
HORIZON_S = 8 * 86_400
# How far back an incident that was sealed may lie among a host's episodes.
EPISODES_MAX = 64


class CorrelateProjection(Struct, frozen=True):
    """N findings on a host in a window become an incident."""

    rules: tuple[CountRule, ...] = RULES
    name: str = "correlate"
    schema: str = SCHEMA

    def apply(self, db: sqlite3.Connection, batch: AdmittedBatch) -> Sequence[Record]:
        """Take one batch in and return the incidents it opens or revises."""
        if batch.derived:
            for admitted in batch.records:
                if isinstance(admitted.record, Incident):
                    self._read_back(db, batch.tenant.bytes, admitted.record)
            return ()
        if not batch.trusted:
            return ()
        told: dict[tuple[str, int], Incident] = {}
        for admitted in batch.records:
            if not isinstance(admitted.record, Finding):
                continue
            for rule in self.rules:
                if rule.selects(admitted.record):
                    _note(db, rule, batch, admitted, admitted.record)
                    found = _judge(db, rule, batch, admitted.record.event_time)
                    if found is not None:
                        # Of one batch only the last revision of an incident is told.
                        told[rule.id, found[0]] = found[1]
        return tuple(told.values())

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]:
        """Close episodes that have been quiet for a window, and forget old signals."""
        closed: list[Record] = []
        for rule in self.rules:
            quiet = now - rule.window_s * NS_PER_S
            query = "SELECT host, number FROM episodes WHERE rule = ? AND is_open AND last < ?"
            for host, number in db.execute(query, (rule.id, quiet)).fetchall():
                closed.append(_close(db, rule, tenant.bytes, host, number))
        db.execute("DELETE FROM signals WHERE event_time < ?", (now - HORIZON_S * NS_PER_S,))
        return closed

    def _read_back(self, db: sqlite3.Connection, tenant: bytes, incident: Incident) -> None:
        """Follow what was sealed, where that is not what is known already."""
        rule = next((one for one in self.rules if one.id == incident.rule.id), None)
        if rule is None or len(incident.hosts) != 1:
            return
        host = incident.hosts[0]
        number = _number_of(db, rule, host, tenant, incident.uid)
        if number is None:
            return
        known = _numbered(db, rule, host, number)
        found = _signals(db, rule, host, incident.first, incident.last)
        sealed = Episode(
            number=number,
            revision=incident.revision,
            first=incident.first,
            last=incident.last,
            count=incident.count,
            rules=_rules_in(found),
            is_open=incident.status is not IncidentStatus.CLOSED,
        )
        if known is None or (
            known.revision <= sealed.revision
            and structs.replace(known, rules=sealed.rules) != sealed
        ):
            _save(db, rule, host, sealed)


def _note(
    db: sqlite3.Connection,
    rule: CountRule,
    batch: AdmittedBatch,
    admitted: Admitted,
    finding: Finding,
) -> None:
    ref = admitted.ref
    attack = finding.attack[0] if finding.attack else None
    technique = (attack.version, attack.technique, attack.tactic) if attack else (None, None, None)
    db.execute(
        "INSERT OR IGNORE INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rule.id,
            batch.agent.bytes,
            finding.event_time,
            ref.epoch,
            ref.seq,
            ref.index,
            finding.rule.id,
            finding.count,
            *technique,
        ),
    )


def _judge(
    db: sqlite3.Connection, rule: CountRule, batch: AdmittedBatch, at: int
) -> tuple[int, Incident] | None:
    host = batch.agent.bytes
    window = rule.window_s * NS_PER_S
    found = core.fires(rule, _signals(db, rule, host, at - window, at + window), at)
    if not found:
        return None
    known = _episode(db, rule, host, found[0].event_time - window, found[-1].event_time + window)
    if known is None:
        number = _next_number(db, rule, host)
        episode: Episode | None = core.begin(number, found, _rules_in(found))
    else:
        found = _signals(
            db, rule, host, min(known.first, found[0].event_time),
            max(known.last, found[-1].event_time),
        )  # fmt: skip
        episode = core.advance(known, found, _rules_in(found))
    if episode is None:
        return None
    _save(db, rule, host, episode)
    return episode.number, core.incident(rule, batch.tenant.bytes, host, episode, found)


def _close(
    db: sqlite3.Connection, rule: CountRule, tenant: bytes, host: bytes, number: int
) -> Incident:
    episode = _numbered(db, rule, host, number)
    assert episode is not None  # noqa: S101  (the caller has just read its number)
    window = rule.window_s * NS_PER_S
    found = _signals(db, rule, host, episode.first, episode.last + window)
    closed = structs.replace(
        episode,
        revision=episode.revision + 1,
        last=max((signal.event_time for signal in found), default=episode.last),
        count=max(sum(signal.count for signal in found), episode.count),
        is_open=False,
    )
    _save(db, rule, host, closed)
    return core.incident(rule, tenant, host, closed, found)


def _signals(
    db: sqlite3.Connection, rule: CountRule, host: bytes, first: int, last: int
) -> tuple[Signal, ...]:
    rows = db.execute(
        "SELECT event_time, epoch, seq, place, finding_rule, count, attack_version, technique,"
        " tactic FROM signals WHERE rule = ? AND host = ? AND event_time BETWEEN ? AND ?"
        " ORDER BY event_time LIMIT ?",
        (rule.id, host, first, last, SIGNALS_MAX),
    )
    return tuple(
        Signal(
            event_time=time,
            ref=RecordRef(agent=host, epoch=epoch, seq=seq, index=place),
            rule=finding_rule,
            count=count,
            attack=None if technique is None else (version, technique, tactic),
        )
        for time, epoch, seq, place, finding_rule, count, version, technique, tactic in rows
    )


def _episode(
    db: sqlite3.Connection, rule: CountRule, host: bytes, first: int, last: int
) -> Episode | None:
    row = db.execute(
        "SELECT number, revision, first, last, count, rules FROM episodes"
        " WHERE rule = ? AND host = ? AND is_open AND first <= ? AND last >= ?"
        " ORDER BY number DESC LIMIT 1",
        (rule.id, host, last, first),
    ).fetchone()
    return None if row is None else Episode(*row)


def _numbered(db: sqlite3.Connection, rule: CountRule, host: bytes, number: int) -> Episode | None:
    row = db.execute(
        "SELECT number, revision, first, last, count, rules, is_open FROM episodes"
        " WHERE rule = ? AND host = ? AND number = ?",
        (rule.id, host, number),
    ).fetchone()
    return None if row is None else structs.replace(Episode(*row[:-1]), is_open=bool(row[-1]))


def _number_of(
    db: sqlite3.Connection, rule: CountRule, host: bytes, tenant: bytes, uid: bytes
) -> int | None:
    """Return which episode an incident is: one of the newest, or the one that comes next."""
    newest = _next_number(db, rule, host)
    for number in range(newest, max(0, newest - EPISODES_MAX), -1):
        if incident_uid(tenant, rule.id, host.hex(), number) == uid:
            return number
    return None


def _next_number(db: sqlite3.Connection, rule: CountRule, host: bytes) -> int:
    row = db.execute(
        "SELECT coalesce(max(number), 0) + 1 FROM episodes WHERE rule = ? AND host = ?",
        (rule.id, host),
    ).fetchone()
    return int(row[0])


def _save(db: sqlite3.Connection, rule: CountRule, host: bytes, episode: Episode) -> None:
    db.execute(
        "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rule.id,
            host,
            episode.number,
            episode.revision,
            episode.first,
            episode.last,
            episode.count,
            episode.rules,
            episode.is_open,
        ),
    )


def _rules_in(found: Sequence[Signal]) -> int:
    return len({signal.rule for signal in found})
