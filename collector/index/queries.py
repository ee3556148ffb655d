"""Questions to the index, answered as rows for the command line and the API.

Every function takes a read-only connection to one tenant's index: which tenant is decided by who
opens it, never by a value in a query.
"""

import sqlite3
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from proto.model import Audit, Drop, Finding, Health, Incident, RecordRef, Severity
from proto.rows import plain
from proto.uids import show

_FINDING = msgspec.json.Decoder(Finding)
_INCIDENT = msgspec.json.Decoder(Incident)
_EVENT = msgspec.json.Decoder(Drop | Health | Audit)
_SEVERITIES = {severity.rank: severity.value for severity in Severity}
_FINDING_COLUMNS = (
    "uid, key, agent, kind, activity, disposition, severity, title, rule, source, coverage,"
    " event_time, observed_at, received, trusted, body,"
    " (SELECT name FROM hosts WHERE hosts.agent = findings.agent) AS host"
)


class FindingFilter(Struct, frozen=True, kw_only=True):
    """Which findings to return; times in nanoseconds UTC, None for no bound."""

    kind: str | None = None
    rule: str | None = None
    agent: bytes | None = None
    severity_min: Severity = Severity.UNSPECIFIED
    since: int | None = None
    until: int | None = None
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1_000


def open_index(path: str) -> sqlite3.Connection:
    """Open an index read-only.

    Raises:
        sqlite3.OperationalError: it does not exist yet.
    """
    db = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=5)
    db.row_factory = sqlite3.Row
    return db


def findings(db: sqlite3.Connection, wanted: FindingFilter) -> Iterator[dict[str, Any]]:
    """Yield findings, the newest first."""
    where, values = ["severity >= ?"], [wanted.severity_min.rank]
    bounds = (
        ("kind = ?", wanted.kind),
        ("rule = ?", wanted.rule),
        ("agent = ?", wanted.agent),
        ("event_time >= ?", wanted.since),
        ("event_time < ?", wanted.until),
    )
    parameters: list[Any] = list(values)
    for clause, value in bounds:
        if value is not None:
            where.append(clause)
            parameters.append(value)
    # Clauses are constants of this function; every value is a parameter.
    query = (
        f"SELECT {_FINDING_COLUMNS} FROM findings WHERE {' AND '.join(where)}"  # noqa: S608
        " ORDER BY event_time DESC, id DESC LIMIT ?"
    )
    for row in db.execute(query, (*parameters, wanted.limit)):
        yield _finding_row(row)


def _finding_row(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "uid": show(row["uid"]),
        "kind": row["kind"],
        "severity": _SEVERITIES[row["severity"]],
        "title": row["title"],
        "rule": row["rule"],
        "source": row["source"],
        "coverage": row["coverage"],
        "observed_at": row["observed_at"],
        "event_time": row["event_time"],
        "received_at": row["received"],
        "finding": show(row["key"]),
        "activity": row["activity"],
        "disposition": row["disposition"],
        "host": row["host"],
        "agent": show(row["agent"]),
        "trusted": bool(row["trusted"]),
        "body": plain(_FINDING.decode(row["body"])),
    }


def place_of(db: sqlite3.Connection, uid: bytes) -> RecordRef | None:
    """Return where a finding lies in the ledger, by its uid."""
    row = db.execute("SELECT agent, epoch, seq, place FROM findings WHERE uid = ?", (uid,))
    found = row.fetchone()
    return None if found is None else RecordRef(*found)


def hosts(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Yield hosts by name, with what they last said of themselves."""
    for row in db.execute("SELECT * FROM hosts ORDER BY name, agent"):
        sensors = msgspec.json.decode(row["sensors"])
        yield {
            "agent": show(row["agent"]),
            "host": row["name"],
            "version": row["version"],
            "split": row["split"],
            "first_seen": row["first_seen"],
            "last_seen": row["last_seen"],
            "epoch": show(row["epoch"]),
            "seq": row["seq"],
            "batches": row["batches"],
            "records": row["records"],
            "trusted": bool(row["trusted"]),
            "content": msgspec.json.decode(row["content"]),
            "sensors": {item["sensor"]: item["state"] for item in sensors},
        }


def incidents(db: sqlite3.Connection, limit: int = 1_000) -> Iterator[dict[str, Any]]:
    """Yield incidents at their newest revision, the latest first."""
    query = "SELECT * FROM incidents ORDER BY last DESC, uid LIMIT ?"
    for row in db.execute(query, (limit,)):
        yield {
            "uid": show(row["uid"]),
            "revision": row["revision"],
            "status": row["status"],
            "severity": _SEVERITIES[row["severity"]],
            "title": row["title"],
            "rule": row["rule"],
            "first": row["first"],
            "last": row["last"],
            "count": row["count"],
            "body": plain(_INCIDENT.decode(row["body"])),
        }


def events(db: sqlite3.Connection, limit: int = 1_000) -> Iterator[dict[str, Any]]:
    """Yield what was lost, degraded or done, the latest first."""
    query = "SELECT agent, type, at, body FROM events ORDER BY id DESC LIMIT ?"
    for row in db.execute(query, (limit,)):
        yield {
            "agent": show(row["agent"]),
            "type": row["type"],
            "at": row["at"],
            "body": plain(_EVENT.decode(row["body"])),
        }


def inventory(db: sqlite3.Connection, name: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield packages by host, all or those of one name."""
    query = "SELECT * FROM inventory WHERE ?1 IS NULL OR name = ?1 ORDER BY agent, manager, name"
    for row in db.execute(query, (name,)):
        yield {**dict(row), "agent": show(row["agent"])}


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """Return how much the index holds, for metrics and the status page."""
    tables = ("hosts", "findings", "incidents", "inventory", "events")
    return {
        table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        for table in tables
    }
