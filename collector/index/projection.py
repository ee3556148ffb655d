"""Puts admitted records where they can be asked for."""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from collector.ports import Admitted, AdmittedBatch
from proto.model import (
    Audit,
    Change,
    Drop,
    Finding,
    Health,
    Incident,
    InventoryItem,
    Package,
    Record,
)
from proto.uids import record_uid

SCHEMA = """
CREATE TABLE hosts (
    agent BLOB PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, split TEXT NOT NULL,
    first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, sealed_at INTEGER NOT NULL,
    epoch BLOB NOT NULL, seq INTEGER NOT NULL, batches INTEGER NOT NULL, records INTEGER NOT NULL,
    trusted INTEGER NOT NULL, content TEXT NOT NULL, sensors TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE findings (
    id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, key BLOB NOT NULL, agent BLOB NOT NULL,
    epoch BLOB NOT NULL, seq INTEGER NOT NULL, place INTEGER NOT NULL, position INTEGER NOT NULL,
    kind TEXT NOT NULL, activity TEXT NOT NULL, disposition TEXT NOT NULL,
    severity INTEGER NOT NULL, title TEXT NOT NULL, rule TEXT NOT NULL, source TEXT NOT NULL,
    coverage TEXT NOT NULL, event_time INTEGER NOT NULL, observed_at INTEGER NOT NULL,
    received INTEGER NOT NULL, trusted INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX findings_by_time ON findings (event_time);
CREATE INDEX findings_by_host ON findings (agent, event_time);
CREATE INDEX findings_by_rule ON findings (rule, event_time);
CREATE INDEX findings_by_key ON findings (key, event_time);
CREATE TABLE incidents (
    uid BLOB PRIMARY KEY, revision INTEGER NOT NULL, status TEXT NOT NULL,
    severity INTEGER NOT NULL, title TEXT NOT NULL, rule TEXT NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, count INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE inventory (
    agent BLOB NOT NULL, manager TEXT NOT NULL, name TEXT NOT NULL, architecture TEXT NOT NULL,
    path TEXT NOT NULL, version TEXT NOT NULL, observed_at INTEGER NOT NULL,
    PRIMARY KEY (agent, manager, name, architecture, path)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, agent BLOB NOT NULL, position INTEGER NOT NULL, place INTEGER NOT NULL,
    type TEXT NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX events_by_host ON events (agent, at);
"""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class IndexProjection(Struct, frozen=True):
    """The index as a projection; it holds no state of its own."""

    name: str = "index"
    schema: str = SCHEMA

    def apply(self, db: sqlite3.Connection, batch: AdmittedBatch) -> Sequence[Record]:
        """Take one batch in; nothing is derived."""
        if not batch.derived:
            _take_host(db, batch)
        for admitted in batch.records:
            _take_record(db, batch, admitted)
        return ()


def _take_host(db: sqlite3.Connection, batch: AdmittedBatch) -> None:
    header = batch.header
    values = {
        "agent": batch.agent.bytes,
        "name": header.host_name,
        "version": header.agent_version,
        "split": header.split.value,
        "received": batch.received,
        "sealed_at": header.wall,
        "epoch": header.epoch,
        "seq": header.seq,
        "records": header.records,
        "trusted": batch.trusted,
        "content": _encode(header.content).decode(),
        "sensors": _encode(header.sensors).decode(),
    }
    db.execute(
        "INSERT INTO hosts VALUES (:agent, :name, :version, :split, :received, :received,"
        " :sealed_at, :epoch, :seq, 1, :records, :trusted, :content, :sensors)"
        " ON CONFLICT (agent) DO UPDATE SET name = :name, version = :version, split = :split,"
        " last_seen = :received, sealed_at = :sealed_at, epoch = :epoch, seq = :seq,"
        " batches = batches + 1, records = records + :records, trusted = :trusted,"
        " content = :content, sensors = :sensors",
        values,
    )


def _take_record(db: sqlite3.Connection, batch: AdmittedBatch, admitted: Admitted) -> None:
    record = admitted.record
    match record:
        case Finding():
            _take_finding(db, batch, admitted, record)
        case Incident():
            _take_incident(db, record)
        case InventoryItem():
            _take_inventory(db, batch, record)
        case Drop() | Health() | Audit():
            _take_event(db, batch, admitted)
        case _:
            # Evidence, observations and scores are read from the ledger by those who need them.
            return


def _take_finding(
    db: sqlite3.Connection, batch: AdmittedBatch, admitted: Admitted, finding: Finding
) -> None:
    ref = admitted.ref
    db.execute(
        "INSERT OR IGNORE INTO findings VALUES"
        " (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record_uid(batch.tenant.bytes, ref),
            finding.key,
            ref.agent,
            ref.epoch,
            ref.seq,
            ref.index,
            batch.position,
            finding.kind.value,
            finding.activity.value,
            finding.disposition.value,
            finding.severity.rank,
            finding.title,
            finding.rule.id,
            f"{finding.source.sensor}/{finding.source.rung}",
            finding.source.coverage,
            finding.event_time,
            finding.observed_at,
            batch.received,
            batch.trusted,
            _encode(finding),
        ),
    )


def _take_incident(db: sqlite3.Connection, incident: Incident) -> None:
    db.execute(
        "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (uid) DO UPDATE SET revision = excluded.revision, status = excluded.status,"
        " severity = excluded.severity, title = excluded.title, first = excluded.first,"
        " last = excluded.last, count = excluded.count, body = excluded.body"
        " WHERE excluded.revision > revision",
        (
            incident.uid,
            incident.revision,
            incident.status.value,
            incident.severity.rank,
            incident.title,
            incident.rule.id,
            incident.first,
            incident.last,
            incident.count,
            _encode(incident),
        ),
    )


def _take_inventory(db: sqlite3.Connection, batch: AdmittedBatch, item: InventoryItem) -> None:
    package = item.item.value
    if not isinstance(package, Package):
        return
    agent = batch.agent.bytes
    name = (agent, package.manager, package.name, package.architecture, package.path or "")
    if item.change is Change.REMOVED:
        db.execute(
            "DELETE FROM inventory"
            " WHERE (agent, manager, name, architecture, path, version) = (?, ?, ?, ?, ?, ?)",
            (*name, package.version),
        )
        return
    db.execute(
        "INSERT OR REPLACE INTO inventory VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*name, package.version, item.observed_at),
    )


def _take_event(db: sqlite3.Connection, batch: AdmittedBatch, admitted: Admitted) -> None:
    record = admitted.record
    at = getattr(record, "at", 0) or batch.header.wall
    db.execute(
        "INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?)",
        (
            batch.agent.bytes,
            batch.position,
            admitted.ref.index,
            type(record).__name__.lower(),
            at,
            _encode(record),
        ),
    )
