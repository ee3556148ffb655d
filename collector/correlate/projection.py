"""Correlation as a projection: signals and episodes in a database, incidents out of it.

Only trusted batches of hosts count: what an agent in quarantine says, or what the collector has
derived itself, never makes an incident.

Everything but ``closing`` follows from the ledger in its order, so a rebuild comes to the same. The
clock only proposes: an episode that has been quiet is told as closed, and is closed when that
statement is read back from where it was sealed. What came between the two is judged again then.
"""

import sqlite3
from collections.abc import Container, Iterator, Sequence

import msgspec
from msgspec import Struct, structs

from certs.identity import TenantId
from collector.correlate import core
from collector.correlate.core import Episode, Signal, Sources, Span
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
    first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL, rules TEXT NOT NULL,
    grown INTEGER NOT NULL, is_open INTEGER NOT NULL,
    PRIMARY KEY (rule, host, number)
) WITHOUT ROWID;
-- Told as closed, and not read back yet: nothing more is told of these.
CREATE TABLE closing (
    rule TEXT NOT NULL, host BLOB NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (rule, host, number)
) WITHOUT ROWID;
"""
# Signals on either side that a single decision looks at; the rest of a flood is only counted.
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
        told: dict[bytes, Incident] = {}
        if batch.derived:
            for admitted in batch.records:
                if isinstance(admitted.record, Incident):
                    again = self._read_back(db, batch.tenant.bytes, admitted.record)
                    told |= {incident.uid: incident for incident in again}
            return tuple(told.values())
        if not batch.trusted:
            return ()
        for rule in self.rules:
            times = [
                _note(db, rule, batch, admitted, admitted.record)
                for admitted in batch.records
                if isinstance(admitted.record, Finding) and rule.selects(admitted.record)
            ]
            # Judged once a batch and not once a finding: a flood must not stop the worker.
            subject = Subject(rule, batch.tenant.bytes, batch.agent.bytes)
            told |= {incident.uid: incident for incident in _judge(db, subject, times)}
        return tuple(told.values())

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]:
        """Tell the close of episodes that have been quiet for a window; forget old signals."""
        closed: list[Record] = []
        for rule in self.rules:
            quiet = now - rule.window_s * NS_PER_S
            query = (
                "SELECT host, number FROM episodes WHERE rule = ? AND is_open AND last < ?"
                " EXCEPT SELECT host, number FROM closing WHERE rule = ?"
            )
            for host, number in db.execute(query, (rule.id, quiet, rule.id)).fetchall():
                closed.append(_closed(db, Subject(rule, tenant.bytes, host), number))
                db.execute("INSERT INTO closing VALUES (?, ?, ?)", (rule.id, host, number))
        db.execute("DELETE FROM signals WHERE event_time < ?", (now - HORIZON_S * NS_PER_S,))
        return closed

    def _read_back(
        self, db: sqlite3.Connection, tenant: bytes, incident: Incident
    ) -> Sequence[Incident]:
        """Follow what was sealed; return what that makes of the signals behind a close."""
        rule = next((one for one in self.rules if one.id == incident.rule.id), None)
        if rule is None or len(incident.hosts) != 1:
            return ()
        host = incident.hosts[0]
        number = _number_of(db, rule, host, tenant, incident.uid)
        if number is None:
            return ()
        known = _numbered(db, rule, host, number)
        is_close = incident.status is IncidentStatus.CLOSED
        if known is not None and (
            not known.is_open or (known.revision >= incident.revision and not is_close)
        ):
            return ()
        _save(db, rule, host, _sealed(db, rule, host, number, incident))
        if known is None or not is_close:
            return ()
        db.execute(
            "DELETE FROM closing WHERE rule = ? AND host = ? AND number = ?",
            (rule.id, host, number),
        )
        later = _times(db, rule, host, incident.last, known.last)
        return tuple(_judge(db, Subject(rule, tenant, host), later))


class Subject(Struct, frozen=True):
    """Whose signals are judged, by which rule."""

    rule: CountRule
    tenant: bytes
    host: bytes


def _sealed(
    db: sqlite3.Connection, rule: CountRule, host: bytes, number: int, incident: Incident
) -> Episode:
    return Episode(
        number=number,
        revision=incident.revision,
        first=incident.first,
        last=incident.last,
        count=incident.count,
        rules=_span(db, rule, host, incident.first, incident.last).rules,
        is_open=incident.status is not IncidentStatus.CLOSED,
    )


def _times(
    db: sqlite3.Connection, rule: CountRule, host: bytes, after: int, upto: int
) -> Sequence[int]:
    rows = db.execute(
        "SELECT event_time FROM signals"
        " WHERE rule = ? AND host = ? AND event_time > ? AND event_time <= ?",
        (rule.id, host, after, upto),
    )
    return [time for (time,) in rows]


def _note(
    db: sqlite3.Connection,
    rule: CountRule,
    batch: AdmittedBatch,
    admitted: Admitted,
    finding: Finding,
) -> int:
    """Keep a signal; return its event time."""
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
    return finding.event_time


def _judge(db: sqlite3.Connection, whose: Subject, times: Sequence[int]) -> Iterator[Incident]:
    """Yield the incidents that new signals open or revise."""
    rule, host = whose.rule, whose.host
    window = rule.window_s * NS_PER_S
    for near in _clusters(sorted(times), 2 * window):
        new = frozenset(near)
        fired = core.fires(rule, _around(db, rule, host, near, window), new)
        for found in core.runs(rule, fired):
            episode = _follow(db, rule, host, found, new)
            if episode is not None and not _is_closing(db, rule, host, episode.number):
                made_of = _sources(db, rule, host, episode.first, episode.last)
                yield core.incident(rule, whose.tenant, host, episode, made_of)


def _is_closing(db: sqlite3.Connection, rule: CountRule, host: bytes, number: int) -> bool:
    query = "SELECT 1 FROM closing WHERE rule = ? AND host = ? AND number = ?"
    return db.execute(query, (rule.id, host, number)).fetchone() is not None


def _follow(
    db: sqlite3.Connection,
    rule: CountRule,
    host: bytes,
    found: Sequence[Signal],
    new: Container[int],
) -> Episode | None:
    """Take signals that belong together into their episode; return it when it is to be told."""
    window = rule.window_s * NS_PER_S
    first, last = found[0].event_time, found[-1].event_time
    known = _episode(db, rule, host, first - window, last + window)
    if known is None:
        span = _span(db, rule, host, first, last)
        episode: Episode | None = core.begin(_next_number(db, rule, host), span)
    else:
        grown = sum(s.count for s in found if s.event_time in new or not _is_in(known, s))
        known = structs.replace(
            known,
            first=min(known.first, first),
            last=max(known.last, last),
            grown=known.grown + grown,
        )
        episode = None
        if core.is_worth_counting(known, found):
            # What grew is an estimate; counting costs as much as the episode is long.
            span = _span(db, rule, host, known.first, known.last)
            episode = core.advance(known, span)
            known = structs.replace(known, grown=max(0, span.count - known.count))
        if episode is None:
            _save(db, rule, host, known)
    if episode is not None:
        _save(db, rule, host, episode)
    return episode


def _clusters(times: Sequence[int], gap_max: int) -> Iterator[Sequence[int]]:
    start = 0
    for end in range(1, len(times) + 1):
        if end == len(times) or times[end] - times[end - 1] > gap_max:
            yield times[start:end]
            start = end


def _is_in(episode: Episode, signal: Signal) -> bool:
    return episode.first <= signal.event_time <= episode.last


def _closed(db: sqlite3.Connection, whose: Subject, number: int) -> Incident:
    """Return an episode as a closed incident; the episode itself stays as it is."""
    rule, host = whose.rule, whose.host
    episode = _numbered(db, rule, host, number)
    assert episode is not None  # noqa: S101  (the caller has just read its number)
    span = _span(db, rule, host, episode.first, episode.last + rule.window_s * NS_PER_S)
    closed = structs.replace(
        episode,
        revision=episode.revision + 1,
        last=max(span.last, episode.last),
        count=max(span.count, episode.count),
        grown=0,
        is_open=False,
    )
    made_of = _sources(db, rule, host, closed.first, closed.last)
    return core.incident(rule, whose.tenant, host, closed, made_of)


def _around(
    db: sqlite3.Connection, rule: CountRule, host: bytes, near: Sequence[int], window: int
) -> tuple[Signal, ...]:
    """Return the signals at and around some event times, the nearest ones of a flood."""
    limit = max(SIGNALS_MAX, rule.count_min)
    columns = "event_time, epoch, seq, place, finding_rule, count"
    before = db.execute(
        f"SELECT {columns} FROM signals WHERE rule = ? AND host = ?"  # noqa: S608  (constant)
        " AND event_time BETWEEN ? AND ? ORDER BY event_time DESC LIMIT ?",
        (rule.id, host, near[0] - window, near[-1], limit),
    ).fetchall()
    behind = db.execute(
        f"SELECT {columns} FROM signals WHERE rule = ? AND host = ?"  # noqa: S608  (constant)
        " AND event_time > ? AND event_time <= ? ORDER BY event_time LIMIT ?",
        (rule.id, host, near[-1], near[-1] + window, limit),
    ).fetchall()
    return tuple(
        Signal(time, RecordRef(agent=host, epoch=epoch, seq=seq, index=place), name, count)
        for time, epoch, seq, place, name, count in (*before, *behind)
    )


def _span(db: sqlite3.Connection, rule: CountRule, host: bytes, first: int, last: int) -> Span:
    """Add up every signal between two times."""
    rows = db.execute(
        "SELECT finding_rule, min(event_time), max(event_time), sum(count) FROM signals"
        " WHERE rule = ? AND host = ? AND event_time BETWEEN ? AND ? GROUP BY finding_rule",
        (rule.id, host, first, last),
    ).fetchall()
    return Span(
        first=min((row[1] for row in rows), default=first),
        last=max((row[2] for row in rows), default=last),
        count=sum(row[3] for row in rows),
        rules=frozenset(row[0] for row in rows),
    )


def _sources(
    db: sqlite3.Connection, rule: CountRule, host: bytes, first: int, last: int
) -> Sources:
    """Return what an episode between two times is made of."""
    where = "FROM signals WHERE rule = ? AND host = ? AND event_time BETWEEN ? AND ?"
    values = (rule.id, host, first, last)
    ((total,),) = db.execute(f"SELECT count(*) {where}", values)
    refs = db.execute(
        f"SELECT epoch, seq, place {where} ORDER BY event_time LIMIT ?",
        (*values, core.SOURCES_MAX),
    )
    techniques = db.execute(
        f"SELECT DISTINCT attack_version, technique, tactic {where}"
        " AND technique IS NOT NULL LIMIT ?",
        (*values, core.ATTACK_MAX),
    )
    return Sources(
        total=total,
        first=[RecordRef(agent=host, epoch=e, seq=s, index=p) for e, s, p in refs],
        techniques=techniques.fetchall(),
    )


_COLUMNS = "number, revision, first, last, count, rules, grown, is_open"


def _episode(
    db: sqlite3.Connection, rule: CountRule, host: bytes, first: int, last: int
) -> Episode | None:
    return _read_episode(
        db.execute(
            f"SELECT {_COLUMNS} FROM episodes"  # noqa: S608  (constant)
            " WHERE rule = ? AND host = ? AND is_open AND first <= ? AND last >= ?"
            " ORDER BY number DESC LIMIT 1",
            (rule.id, host, last, first),
        )
    )


def _numbered(db: sqlite3.Connection, rule: CountRule, host: bytes, number: int) -> Episode | None:
    return _read_episode(
        db.execute(
            f"SELECT {_COLUMNS} FROM episodes WHERE rule = ? AND host = ? AND number = ?",  # noqa: S608
            (rule.id, host, number),
        )
    )


def _read_episode(rows: sqlite3.Cursor) -> Episode | None:
    row = rows.fetchone()
    if row is None:
        return None
    number, revision, first, last, count, rules, grown, is_open = row
    names = frozenset(msgspec.json.decode(rules, type=list[str]))
    return Episode(number, revision, first, last, count, names, grown, bool(is_open))


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
        "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rule.id,
            host,
            episode.number,
            episode.revision,
            episode.first,
            episode.last,
            episode.count,
            msgspec.json.encode(sorted(episode.rules)).decode(),
            episode.grown,
            episode.is_open,
        ),
    )
