"""forward.db: how far each destination has come, and what it would not take.

One file a tenant, one row a destination. The cursor, the counts and the dead letters of a payload
are written in one transaction, so after a crash they agree; what was sent but not yet written is
sent again with the same event ids.
"""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from msgspec import Struct

from collector.forward.event import EventKind, Place
from collector.forward.states import SETTLED, Phase, State
from collector.ledger.database import open_reader, open_writer, transaction, translated

VERSION = 1
SCHEMA = """
CREATE TABLE destinations (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    log_size INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0,
    unconfirmable INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0,
    phase TEXT NOT NULL DEFAULT 'running',
    detail TEXT NOT NULL DEFAULT '',
    degraded TEXT NOT NULL DEFAULT '',
    oldest INTEGER,
    changed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Events that a destination refused alone. A letter sent again (redrive = 1) is found in the ledger
-- by its position, so that it is encoded anew.
CREATE TABLE letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    uid TEXT NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    record INTEGER NOT NULL,
    at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 1,
    redrive INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL,
    encoded BLOB NOT NULL
);
CREATE INDEX letters_destination ON letters (destination, id);
CREATE INDEX letters_redrive ON letters (destination, id) WHERE redrive;
"""
REASON_CHARS_MAX = 1024


class Letter(Struct, frozen=True):
    """An event that a destination would not take.

    Args:
        id: counts the tenant's letters; 0 for one not stored yet.
        destination: its name.
        uid: of the event.
        kind: of the event.
        position: of its batch in the ledger; 0 for an event that is no record.
        index: of its record in the batch.
        at: when it was last refused, nanoseconds UTC.
        reason: the receiver's, as far as it said.
        encoded: what was refused; empty where it could not be encoded.
        attempts: how often it was refused.
        redrive: it waits to be sent again.
    """

    id: int
    destination: str
    uid: str
    kind: EventKind
    position: int
    index: int
    at: int
    reason: str
    encoded: bytes
    attempts: int = 1
    redrive: bool = False


class Status(Struct, frozen=True, kw_only=True):
    """How one destination of one tenant is.

    Args:
        name: of the destination.
        cursor: how far its tenant's ledger has been dealt with.
        log_size: of the newest checkpoint it has.
        counts: events that ever reached each settled state.
        resent: events sent again because their fate was unknown.
        letters: dead letters now.
        phase: how it is.
        detail: why, where it is not running.
        degraded: why events reach less than they could; empty while they do not.
        oldest: when the collector had the oldest event under way; None when there is none.
        changed: when this was written, nanoseconds UTC.
    """

    name: str
    cursor: Place
    log_size: int
    counts: Mapping[State, int]
    resent: int
    letters: int
    phase: Phase
    detail: str
    degraded: str
    oldest: int | None
    changed: int


class Progress(Struct, kw_only=True):
    """What one commit changes.

    Args:
        cursor: where it moves to; None to leave it.
        log_size: of the checkpoint that was settled; 0 for none.
        counts: events newly in a settled state.
        resent: events newly queued again.
        dead: letters to add, and those refused again (with their ``id``).
        redriven: letters that were taken this time.
        oldest: see `Status`.
    """

    cursor: Place | None = None
    log_size: int = 0
    counts: dict[State, int] = {}
    resent: int = 0
    dead: list[Letter] = []
    redriven: list[int] = []
    oldest: int | None = None


class Health(Struct, frozen=True):
    """How a destination is now, as `Status` says it."""

    phase: Phase
    detail: str = ""
    degraded: str = ""


class ForwardStore:
    """One tenant's file, open for writing; its methods may be called from any thread.

    Args:
        path: the file; its directory exists.

    Raises:
        LedgerError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_writer(path, SCHEMA, VERSION)
        self._lock = threading.Lock()

    def begin(self, name: str, start: int, now: int) -> tuple[Place, int]:
        """Return a destination's cursor and checkpoint size; a new one begins behind ``start``.

        Raises:
            LedgerError: the file cannot be written now.
        """
        with self._lock, translated(self._path), transaction(self._db):
            self._db.execute(
                "INSERT OR IGNORE INTO destinations (name, position, changed) VALUES (?, ?, ?)",
                (name, start, now),
            )
            position, taken, log_size = self._db.execute(
                "SELECT position, taken, log_size FROM destinations WHERE name = ?", (name,)
            ).fetchone()
        return Place(position, taken), log_size

    def commit(self, name: str, progress: Progress, health: Health, now: int) -> None:
        """Write what changed, durably, in one transaction.

        Raises:
            LedgerError: nothing was written; the same call may be tried again.
        """
        with self._lock, translated(self._path), transaction(self._db):
            self._move(name, progress, health, now)
            for letter in progress.dead:
                self._bury(letter)
            self._db.executemany(
                "DELETE FROM letters WHERE id = ?", [(id_,) for id_ in progress.redriven]
            )

    def letter_count(self, name: str) -> int:
        """Return how many dead letters a destination has.

        Raises:
            LedgerError: the file cannot be read now.
        """
        with self._lock, translated(self._path):
            return _letter_count(self._db, name)

    def to_redrive(self, name: str, count_max: int) -> list[Letter]:
        """Return letters that wait to be sent again, oldest first.

        Raises:
            LedgerError: the file cannot be read now.
        """
        with self._lock, translated(self._path):
            rows = self._db.execute(
                f"SELECT {_LETTER} FROM letters WHERE redrive AND destination = ? "  # noqa: S608 - constant
                "ORDER BY id LIMIT ?",
                (name, count_max),
            ).fetchall()
        return [_letter(row) for row in rows]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _move(self, name: str, progress: Progress, health: Health, now: int) -> None:
        cursor = progress.cursor
        added = ", ".join(f"{state.value} = {state.value} + ?" for state in SETTLED)
        self._db.execute(
            "UPDATE destinations SET position = coalesce(?, position), taken = coalesce(?, taken), "  # noqa: S608 - constant
            f"log_size = max(log_size, ?), {added}, resent = resent + ?, "
            "phase = ?, detail = ?, degraded = ?, oldest = ?, changed = ? WHERE name = ?",
            (
                None if cursor is None else cursor.position,
                None if cursor is None else cursor.taken,
                progress.log_size,
                *(progress.counts.get(state, 0) for state in SETTLED),
                progress.resent,
                health.phase.value,
                health.detail[:REASON_CHARS_MAX],
                health.degraded[:REASON_CHARS_MAX],
                progress.oldest,
                now,
                name,
            ),
        )

    def _bury(self, letter: Letter) -> None:
        if letter.id:
            self._db.execute(
                "UPDATE letters SET redrive = 0, attempts = attempts + 1, at = ?, reason = ?, "
                "encoded = ? WHERE id = ?",
                (letter.at, letter.reason[:REASON_CHARS_MAX], letter.encoded, letter.id),
            )
            return
        self._db.execute(
            "INSERT INTO letters (destination, uid, kind, position, record, at, reason, encoded) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                letter.destination,
                letter.uid,
                letter.kind.value,
                letter.position,
                letter.index,
                letter.at,
                letter.reason[:REASON_CHARS_MAX],
                letter.encoded,
            ),
        )


class ForwardReader:
    """One tenant's file as other processes read it. Use it as a context manager.

    Args:
        path: the file.

    Raises:
        LedgerError: there is no such file, or it cannot be read now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def statuses(self) -> list[Status]:
        """Return how every destination is that ever was, by name.

        Raises:
            LedgerError: the file cannot be read now.
        """
        with translated(self._path):
            rows = self._db.execute(
                "SELECT name, position, taken, log_size, accepted, confirmed, unconfirmable, dead, "
                "resent, phase, detail, degraded, oldest, changed FROM destinations ORDER BY name"
            ).fetchall()
            letters = {row[0]: _letter_count(self._db, row[0]) for row in rows}
        return [_status(row, letters[row[0]]) for row in rows]

    def letters(self, name: str, after_id: int, count_max: int) -> Sequence[Letter]:
        """Return a destination's dead letters behind an id, oldest first.

        Raises:
            LedgerError: the file cannot be read now.
        """
        with translated(self._path):
            rows = self._db.execute(
                f"SELECT {_LETTER} FROM letters WHERE destination = ? AND id > ? "  # noqa: S608 - constant
                "ORDER BY id LIMIT ?",
                (name, after_id, count_max),
            ).fetchall()
        return [_letter(row) for row in rows]


_LETTER = "id, destination, uid, position, record, at, reason, encoded, attempts, kind, redrive"


def _letter(row: tuple[Any, ...]) -> Letter:
    *plain, kind, redrive = row
    id_, destination, uid, position, index, at, reason, encoded, attempts = plain
    known = (position, index, at, reason, encoded, attempts)
    return Letter(id_, destination, uid, EventKind(kind), *known, redrive=bool(redrive))


def _letter_count(db: sqlite3.Connection, name: str) -> int:
    query = "SELECT count(*) FROM letters WHERE destination = ?"
    (count,) = db.execute(query, (name,)).fetchone()
    return int(count)


def _status(row: tuple[Any, ...], letters: int) -> Status:
    name, position, taken, log_size, *rest = row
    resent, phase, detail, degraded, oldest, changed = rest[len(SETTLED) :]
    return Status(
        name=name,
        cursor=Place(position, taken),
        log_size=log_size,
        counts=dict(zip(SETTLED, rest, strict=False)),
        resent=resent,
        letters=letters,
        phase=Phase(phase),
        detail=detail,
        degraded=degraded,
        oldest=oldest,
        changed=changed,
    )
