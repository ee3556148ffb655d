"""One tenant's ledger file, open for reading: by the process that writes it, and by others."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from certs.identity import AgentId
from collector.ledger.database import open_reader, translated
from collector.ledger.flags import Flag, is_quarantined, read_flags, read_orphans
from collector.ledger.history import newest_epochs
from collector.ledger.ports import Head, Hole, Mark, Stored
from collector.ledger.taking import VERDICTS
from proto.model import RecordRef

T = TypeVar("T")

_STORED = "position, received, verdict, header_hash, header, signature, body"


class LedgerReader:
    """Reads one tenant's ledger; any thread may ask.

    Every method raises LedgerUnavailable where the file cannot be read now, and LedgerCorrupt where
    it is damaged.

    Args:
        path: the file.

    Raises:
        LedgerUnavailable: there is none yet, or it cannot be read now.
        LedgerCorrupt: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_reader(path)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def generation(self) -> bytes:
        """Return the 16 bytes that name this life of the ledger."""
        return bytes(self._one("SELECT value FROM meta WHERE name = 'generation'")[0])

    def last_position(self) -> int:
        """Return the position of the newest batch; 0 where there is none."""
        return int(self._one("SELECT coalesce(max(position), 0) FROM batches")[0])

    def received_after(self, position: int) -> int | None:
        """Return when the first batch behind a position was received, in ns UTC."""
        row = self._one(
            "SELECT received FROM batches WHERE position > ? ORDER BY position LIMIT 1",
            (position,),
        )
        return int(row[0]) if row else None

    def read(self, after: int, batches_max: int, bytes_max: int) -> Sequence[Stored]:
        """Return batches behind a position, in order; at least one where there is any."""

        def read(db: sqlite3.Connection) -> list[Stored]:
            rows = db.execute(
                f"SELECT {_STORED} FROM batches WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608  (constant)
                (after, batches_max),
            )
            found: list[Stored] = []
            size = 0
            for row in rows:
                size += len(row[-1])
                if found and size > bytes_max:
                    break
                found.append(_stored(row))
            return found

        return self._ask(read)

    def at(self, position: int) -> Stored | None:
        """Return the batch at a position."""
        found = self.read(position - 1, 1, 0)
        return found[0] if found and found[0].position == position else None

    def find(self, ref: RecordRef) -> Stored | None:
        """Return the batch that holds a record."""
        row = self._one(
            f"SELECT {_STORED} FROM batches WHERE seq = ? AND chain ="  # noqa: S608  (constant)
            " (SELECT chain FROM chains WHERE agent = ? AND epoch = ?)",
            (ref.seq, ref.agent, ref.epoch),
        )
        return _stored(row) if row else None

    def heads(self, agent: AgentId, count_max: int) -> Sequence[Head]:
        """Return the agent's newest epochs, newest first."""
        return self._ask(
            lambda db: [one.to_head() for one in newest_epochs(db, agent.bytes, count_max)]
        )

    def public_key(self, agent: bytes) -> bytes | None:
        """Return the raw key that an agent's batches were verified with."""
        row = self._one("SELECT public_key FROM agents WHERE agent = ?", (agent,))
        return bytes(row[0]) if row else None

    def is_own(self, agent: bytes) -> bool:
        """Return whether these are batches that the collector sealed itself."""
        return self._one("SELECT 1 FROM agents WHERE agent = ? AND is_own", (agent,)) is not None

    def is_quarantined(self, agent: bytes, position: int) -> bool:
        """Return whether a batch of the agent at this position is not to be trusted."""
        return self._ask(lambda db: is_quarantined(db, agent, position))

    def flags(self, after: int, count_max: int) -> Sequence[Flag]:
        """Return breaks in agents' histories, in the order they were noted."""
        return self._ask(lambda db: read_flags(db, after, count_max))

    def holes(self, before: int, count_max: int) -> Sequence[Hole]:
        """Return epochs with something missing since before a time (ns UTC), longest first."""
        rows = self._ask(
            lambda db: db.execute(
                "SELECT agent, epoch, head_seq + 1, top_seq, hole_since FROM chains"
                " WHERE hole_since IS NOT NULL AND hole_since < ? ORDER BY hole_since LIMIT ?",
                (before, count_max),
            ).fetchall()
        )
        return [Hole(*row) for row in rows]

    def orphans(self, before: int, count_max: int) -> Sequence[Flag]:
        """Return losses of state whose parent might have come since before a time, and has not.

        An epoch is joined to its parent when the batch it names has come, or was declared lost by
        somebody else than itself.
        """
        return self._ask(
            lambda db: [
                flag
                for flag in read_orphans(db, before, count_max)
                if not _is_joined(db, flag.agent, flag.epoch)
            ]
        )

    def mark(self, name: str) -> Mark:
        """Return how far a source of derived records has been sealed."""
        row = self._one("SELECT pending, position FROM marks WHERE name = ?", (name,))
        return Mark(name, *row) if row else Mark(name)

    def _one(self, query: str, values: tuple[object, ...] = ()) -> Any:  # noqa: ANN401  (a row, typed by schema)
        return self._ask(lambda db: db.execute(query, values).fetchone())

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self._path), self._lock:
            return question(self._db)


def _stored(row: tuple[int, int, int, bytes, bytes, bytes, bytes]) -> Stored:
    position, received, verdict, *parts = row
    return Stored(position, received, VERDICTS[verdict], *parts)


def _is_joined(db: sqlite3.Connection, agent: bytes, epoch: bytes) -> bool:
    row = db.execute(
        "SELECT 1 FROM chains AS child JOIN chains AS parent ON parent.agent = child.agent"
        " AND parent.epoch = child.parent_epoch WHERE child.agent = ? AND child.epoch = ?"
        " AND parent.head_seq >= child.parent_seq AND parent.kept_seq > 0",
        (agent, epoch),
    ).fetchone()
    return row is not None
