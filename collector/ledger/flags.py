"""Breaks in agents' histories: noted once, in force until an operator releases them."""

import enum
import sqlite3
from collections.abc import Sequence

from msgspec import Struct

_COLUMNS = "id, position, at, agent, epoch, seq, kind, quarantines, released"


class FlagKind(enum.Enum):
    """What is wrong with an agent's history; the values are stable names, used as labels.

    FORK, ROLLBACK and STATE_LOSS are verdicts on a batch; an ORPHAN is an epoch whose parent never
    came; BODY is a body that is not what its signed header says.
    """

    FORK = "fork"
    ROLLBACK = "rollback"
    STATE_LOSS = "state_loss"
    ORPHAN = "orphan"
    BODY = "body"


class Flag(Struct, frozen=True, kw_only=True):
    """A break in an agent's history.

    Args:
        id: counts the tenant's flags; 0 before it is stored.
        position: it holds for batches from here on.
        at: nanoseconds UTC.
        agent: whose history.
        epoch: of the batch that shows it.
        seq: of that batch.
        kind: what is wrong.
        quarantines: the agent is not trusted while it holds.
        released: an operator's word that it holds no more, from this position on.
    """

    id: int = 0
    position: int
    at: int
    agent: bytes
    epoch: bytes
    seq: int
    kind: FlagKind
    quarantines: bool
    released: int | None = None


def insert_flag(db: sqlite3.Connection, flag: Flag) -> None:
    """Note a break; one of its kind in the same epoch that is in force already says enough.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    db.execute(
        "INSERT OR IGNORE INTO flags (position, at, agent, epoch, seq, kind, quarantines)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            flag.position,
            flag.at,
            flag.agent,
            flag.epoch,
            flag.seq,
            flag.kind.value,
            flag.quarantines,
        ),
    )


def release_flags(db: sqlite3.Connection, agent: bytes) -> int:
    """Let an agent's breaks hold no more for batches that are yet to come; return how many.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    cursor = db.execute(
        "UPDATE flags SET released = (SELECT coalesce(max(position), 0) + 1 FROM batches)"
        " WHERE agent = ? AND released IS NULL",
        (agent,),
    )
    return cursor.rowcount


def read_flags(db: sqlite3.Connection, after: int, count_max: int) -> Sequence[Flag]:
    """Return flags in the order they were noted.

    Raises:
        sqlite3.Error: they cannot be read.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM flags WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608  (constant)
        (after, count_max),
    )
    return [_flag(row) for row in rows]


def read_orphans(db: sqlite3.Connection, before: int, count_max: int) -> Sequence[Flag]:
    """Return losses of state noted before a time that quarantine nobody yet, oldest first.

    Raises:
        sqlite3.Error: they cannot be read.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM flags AS loss"  # noqa: S608  (constant)
        " WHERE kind = 'state_loss' AND NOT quarantines AND released IS NULL AND at < ?"
        " AND NOT EXISTS (SELECT 1 FROM flags WHERE agent = loss.agent AND epoch = loss.epoch"
        " AND kind = 'orphan') ORDER BY id LIMIT ?",
        (before, count_max),
    )
    return [_flag(row) for row in rows]


def is_quarantined(db: sqlite3.Connection, agent: bytes, position: int) -> bool:
    """Return whether a break quarantines the agent at a position; it never changes for one.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    row = db.execute(
        "SELECT 1 FROM flags WHERE agent = ? AND quarantines AND position <= ?"
        " AND (released IS NULL OR released > ?) LIMIT 1",
        (agent, position, position),
    ).fetchone()
    return row is not None


def _flag(row: tuple[int, int, int, bytes, bytes, int, str, int, int | None]) -> Flag:
    number, position, at, agent, epoch, seq, kind, quarantined, released = row
    return Flag(
        id=number,
        position=position,
        at=at,
        agent=agent,
        epoch=epoch,
        seq=seq,
        kind=FlagKind(kind),
        quarantines=bool(quarantined),
        released=released,
    )
