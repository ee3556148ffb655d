"""What the projection keeps of a tenant's hosts, and what scoring reads of it.

Of every (host, check) three statements are kept: the newest failure, the newest pass or exemption,
and the newest that could not tell. Which is newer is told by where they lie in what the host
sealed, never by a clock: the order in which a host's epochs first appeared, then the batch, then
the place in it.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from collector.comply.standing import Host, Statement
from proto.model import CheckState, Evidence, RecordRef, Score

EVIDENCE_ROWS_MAX: Final = 2048
DIGEST_BYTES: Final = 32

# Each kind of statement has a row of its own.
_UNKNOWN: Final = 0
_KINDS: Final = {CheckState.PASS: 1, CheckState.NOT_APPLICABLE: 1, CheckState.FAIL: 2}

SCHEMA: Final = """
create table hosts (
    agent blob primary key,
    trusted integer not null,
    first_received integer not null,
    last_received integer not null,
    last_position integer not null
) without rowid;
create table epochs (
    agent blob not null,
    epoch blob not null,
    rank integer not null,
    primary key (agent, epoch)
) without rowid;
create table verdicts (
    agent blob not null,
    check_id text not null,
    kind integer not null,
    rank integer not null,
    seq integer not null,
    idx integer not null,
    epoch blob not null,
    state text not null,
    reason text not null,
    version text not null,
    evidence blob not null,
    primary key (agent, check_id, kind)
) without rowid;
create table evidence (
    agent blob not null,
    digest blob not null,
    at integer not null,
    primary key (agent, digest)
) without rowid;
create table clock (
    id integer primary key check (id = 1),
    newest integer not null,
    changed integer not null
);
insert into clock values (1, 0, 0);
create table scores (
    framework text not null,
    edition text not null,
    mapping_digest blob not null,
    as_of integer not null,
    score real not null,
    coverage real not null,
    upper real not null,
    evidenced integer not null,
    items integer not null,
    hosts integer not null,
    hosts_reporting integer not null,
    primary key (framework, edition, mapping_digest, as_of)
) without rowid;
-- A mirror of the registry of enrolled agents; the one table that the ledger does not give.
create table enrolled (agent blob primary key) without rowid;
"""


class Said(Struct, frozen=True):
    """A verdict as it is kept, and where it lies."""

    ref: RecordRef
    rank: int
    check: str
    state: CheckState
    reason: str
    version: str
    evidence: tuple[bytes, ...]


def keep_host(
    db: sqlite3.Connection, agent: bytes, batch: tuple[int, int], *, trusted: bool
) -> bool:
    """Note that a batch (position, received) came; return whether host or trust in it is new."""
    position, received = batch
    row = db.execute("select trusted from hosts where agent = ?", (agent,)).fetchone()
    db.execute(
        "insert into hosts values (?, ?, ?, ?, ?) on conflict do update set trusted = ?2,"
        " last_received = max(last_received, ?4), last_position = ?5",
        (agent, int(trusted), received, received, position),
    )
    return row is None or bool(row[0]) != trusted


def rank_of(db: sqlite3.Connection, agent: bytes, epoch: bytes) -> int:
    """Return the place of an epoch among those of its host, in the order they first appeared."""
    row = db.execute(
        "select rank from epochs where agent = ? and epoch = ?", (agent, epoch)
    ).fetchone()
    if row is not None:
        return int(row[0])
    (rank,) = db.execute("select count(*) from epochs where agent = ?", (agent,)).fetchone()
    db.execute("insert into epochs values (?, ?, ?)", (agent, epoch, rank))
    return int(rank)


def keep_verdict(db: sqlite3.Connection, said: Said) -> bool:
    """Keep a verdict unless a newer one is there; return whether the host now stands otherwise."""
    before = _newest_state(db, said)
    db.execute(
        "insert into verdicts values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set"
        " rank = excluded.rank, seq = excluded.seq, idx = excluded.idx, epoch = excluded.epoch,"
        " state = excluded.state, reason = excluded.reason, version = excluded.version,"
        " evidence = excluded.evidence"
        " where (excluded.rank, excluded.seq, excluded.idx) > (rank, seq, idx)",
        (
            said.ref.agent,
            said.check,
            _KINDS.get(said.state, _UNKNOWN),
            said.rank,
            said.ref.seq,
            said.ref.index,
            said.ref.epoch,
            said.state.value,
            said.reason,
            said.version,
            b"".join(said.evidence),
        ),
    )
    return _newest_state(db, said) != before


def _newest_state(db: sqlite3.Connection, said: Said) -> str | None:
    row = db.execute(
        "select state from verdicts where agent = ? and check_id = ?"
        " order by rank desc, seq desc, idx desc limit 1",
        (said.ref.agent, said.check),
    ).fetchone()
    return row[0] if row is not None else None


def keep_evidence(
    db: sqlite3.Connection, agent: bytes, pieces: Iterable[Evidence], received: int
) -> bool:
    """Note when each piece was last collected, never later than it came; return whether any is new.

    A host keeps its newest `EVIDENCE_ROWS_MAX` pieces here.
    """
    new = False
    for piece in pieces:
        at = min(piece.collected_at, received)
        found = db.execute(
            "select 1 from evidence where agent = ? and digest = ?", (agent, piece.digest)
        ).fetchone()
        new = new or found is None
        db.execute(
            "insert into evidence values (?, ?, ?) on conflict do update set at = max(at, ?3)",
            (agent, piece.digest, at),
        )
    db.execute(
        "delete from evidence where agent = ?1 and digest in (select digest from evidence"
        " where agent = ?1 order by at desc, digest limit -1 offset ?2)",
        (agent, EVIDENCE_ROWS_MAX),
    )
    return new


def keep_score(db: sqlite3.Connection, score: Score) -> None:
    """Note a score that was stated and sealed."""
    db.execute(
        "insert or replace into scores values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            score.framework,
            score.edition,
            score.mapping_digest,
            score.as_of,
            score.assured,
            score.coverage,
            score.upper,
            score.evidenced,
            score.items,
            score.hosts,
            score.hosts_reporting,
        ),
    )


def population(db: sqlite3.Connection) -> dict[bytes, Host]:
    """Return the enrolled hosts: those that ever spoke, and those the registry knows."""
    found = {agent: Host(agent) for (agent,) in db.execute("select agent from enrolled")}
    for agent, trusted in db.execute("select agent, trusted from hosts"):
        found[agent] = Host(agent, trusted=bool(trusted))
    return found


def statements(db: sqlite3.Connection) -> list[Statement]:
    """Return everything that hosts say, with the age of the oldest evidence behind each."""
    collected = {
        (agent, digest): at
        for agent, digest, at in db.execute("select agent, digest, at from evidence")
    }
    return [
        Statement(agent, check, CheckState(state), reason, _at(collected, agent, digests), order)
        for agent, check, state, reason, digests, *order_ in db.execute(
            "select agent, check_id, state, reason, evidence, rank, seq, idx from verdicts"
        )
        for order in [(order_[0], order_[1], order_[2])]
    ]


def _at(collected: dict[tuple[bytes, bytes], int], agent: bytes, digests: bytes) -> int | None:
    """Return when the oldest of the evidence was collected; None where any of it is missing."""
    times = [
        collected.get((agent, digests[start : start + DIGEST_BYTES]))
        for start in range(0, len(digests), DIGEST_BYTES)
    ]
    known = [at for at in times if at is not None]
    return min(known) if known and len(known) == len(times) else None


def sources(db: sqlite3.Connection, checks: Iterable[str], limit: int) -> tuple[RecordRef, ...]:
    """Return where the statements about some checks lie, the first ones by place."""
    wanted = sorted(checks)
    rows = db.execute(
        "select agent, epoch, seq, idx from verdicts"  # noqa: S608  (only question marks go in)
        f" where check_id in ({', '.join('?' * len(wanted))})"
        " order by agent, epoch, seq, idx limit ?",
        (*wanted, limit),
    )
    return tuple(RecordRef(*row) for row in rows)


def newest(db: sqlite3.Connection) -> int:
    """Return when the newest batch came (nanoseconds UTC), 0 before the first."""
    (at,) = db.execute("select newest from clock").fetchone()
    return int(at)


def changed(db: sqlite3.Connection) -> int:
    """Return when what scoring reads last changed in more than age, 0 for never."""
    (at,) = db.execute("select changed from clock").fetchone()
    return int(at)


def first_received(db: sqlite3.Connection) -> int:
    """Return when the first batch of any host came, 0 before that."""
    (at,) = db.execute("select min(first_received) from hosts").fetchone()
    return int(at or 0)


def last_stated(
    db: sqlite3.Connection, framework: str, edition: str, mapping_digest: bytes
) -> tuple[int, int] | None:
    """Return for which moment, and for how many hosts, a score was last stated and sealed."""
    row = db.execute(
        "select as_of, hosts from scores where framework = ? and edition = ?"
        " and mapping_digest = ? order by as_of desc limit 1",
        (framework, edition, mapping_digest),
    ).fetchone()
    return (int(row[0]), int(row[1])) if row is not None else None
