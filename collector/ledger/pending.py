"""Records of our own that wait to be sealed, beside the effects that called for them.

They are stored in the transaction that made them, and sealed in ledger order of their ids. An id is
never used twice, not even after its record was sealed and forgotten.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from proto import codec
from proto.errors import WireError
from proto.model import Record
from runtime.logs import logger

SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    position INTEGER NOT NULL,
    record BLOB NOT NULL
);
"""


class Pending(Struct, frozen=True):
    """One record that waits.

    Args:
        id: counts up; its source's mark in the ledger says how far sealing has come.
        position: where in the ledger its source stood when it made the record.
        record: its exact bytes.
    """

    id: int
    position: int
    record: bytes


class PendingSource(Protocol):
    """Something with records to seal."""

    name: str

    def pending(self, after: int, count_max: int) -> Sequence[Pending]:
        """Return what waits, in order, from behind an id.

        Raises:
            LedgerUnavailable: it cannot be read now.
            LedgerCorrupt: its file is damaged.
        """
        ...

    def forget(self, upto: int) -> None:
        """Drop what was sealed; harmless when it was dropped before.

        Raises:
            LedgerUnavailable: nothing was dropped.
            LedgerCorrupt: its file is damaged.
        """
        ...


def add_pending(db: sqlite3.Connection, position: int, records: Iterable[Record]) -> None:
    """Store records in the caller's transaction; one that no record may be is logged and left out.

    Raises:
        sqlite3.Error: they cannot be written.
    """
    for record in records:
        try:
            data = codec.encode_record(record)
        except WireError as error:
            logger(__name__).error(
                "derived record cannot be written", position=position, error=error
            )
            continue
        db.execute("INSERT INTO pending (position, record) VALUES (?, ?)", (position, data))


def read_pending(db: sqlite3.Connection, after: int, count_max: int) -> Sequence[Pending]:
    """Return what waits, in order.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    rows = db.execute(
        "SELECT id, position, record FROM pending WHERE id > ? ORDER BY id LIMIT ?",
        (after, count_max),
    )
    return [Pending(*row) for row in rows]


def forget_pending(db: sqlite3.Connection, upto: int) -> None:
    """Drop what was sealed.

    Raises:
        sqlite3.Error: nothing was dropped.
    """
    db.execute("DELETE FROM pending WHERE id <= ?", (upto,))


def count_from(db: sqlite3.Connection, after: int) -> None:
    """Let the ids of a new file go on behind those that another file has used.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'pending'")
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('pending', ?)", (after,))
