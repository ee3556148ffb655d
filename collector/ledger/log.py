"""One tenant's ``log.db``: the verified mark, and the transparency log of what was admitted.

Written by the worker alone, so that the gateway's commits never wait for it. A leaf is of an
admitted batch, or of our signed refusal of one; what admit says of a batch and its leaf are one
transaction. A checkpoint is signed only over leaves that have been synced, and shown only once it
has been synced itself: what was shown can never be taken back by a crash.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from certs.signatures import SigningKey
from collector.errors import LedgerForeign, NotLogged
from collector.ledger import schema
from collector.ledger.database import open_reader, open_writer, transaction, translated
from collector.ledger.nodes import stored_nodes, write_nodes
from collector.ledger.pending import (
    Pending,
    add_pending,
    forget_pending,
    read_pending,
)
from proto.merkle import CompactTree, TreeHead, consistency_proof, inclusion_proof, root_at
from proto.model import Record
from proto.tlog import Checkpoint, sign_checkpoint

T = TypeVar("T")

CHECKPOINTS_KEPT_MAX = 256

ADMITTED = 1
TRUSTED = 2
NEWER = 4


class Entry(Struct, frozen=True, kw_only=True):
    """What admit says of one batch, and the leaf that stands for it in the log.

    Args:
        position: of the batch in the ledger.
        header_hash: of the batch.
        leaf: of the batch, or of its refusal.
        outcome: ADMITTED, TRUSTED and NEWER, as far as they hold; 0 for a plain refusal.
        refusal: the signed bytes of a refusal.
        signature: of the refusal.
    """

    position: int
    header_hash: bytes
    leaf: bytes
    outcome: int
    refusal: bytes | None = None
    signature: bytes | None = None


class Inclusion(Struct, frozen=True):
    """Where an entry stands under a checkpoint."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes


class TenantLog:
    """Writes one tenant's log; one thread at a time.

    Args:
        path: the file; its directory exists.
        origin: the log's name (`proto.tlog.log_origin`).
        key: signs checkpoints.

    Raises:
        LedgerUnavailable: the file cannot be opened or made now.
        LedgerCorrupt: it is damaged.
        LedgerForeign: another log's, or of a newer version.
    """

    name = "watch"

    def __init__(self, path: Path, origin: str, key: SigningKey) -> None:
        self._path = path
        self._origin = origin
        self._key = key
        self._db = open_writer(path, schema.LOG, schema.LOG_VERSION)
        try:
            with translated(path):
                self._tree = self._load()
        except BaseException:
            self._db.close()
            raise
        self.reader = LogReader(path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        self.reader.close()

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self._tree.size

    def record(self, entries: Sequence[Entry]) -> None:
        """Write what admit says of batches, in ledger order.

        Raises:
            LedgerUnavailable: nothing was written.
            LedgerCorrupt: the file is damaged.
        """
        tree = CompactTree.from_state(self._tree.state)

        def write(db: sqlite3.Connection) -> None:
            first = tree.size
            for entry in entries:
                write_nodes(db, tree.append(entry.leaf))
            db.executemany(
                "INSERT INTO admitted VALUES (?, ?, ?)",
                [(one.position, one.outcome, first + n) for n, one in enumerate(entries)],
            )
            db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                [
                    (first + n, one.position, _short(one.header_hash), one.refusal, one.signature)
                    for n, one in enumerate(entries)
                ],
            )
            db.execute("INSERT OR REPLACE INTO meta VALUES ('tree', ?)", (tree.state,))

        self._change(write)
        self._tree = tree

    def checkpoint(self, now: int) -> bytes | None:
        """Sign the log's head where it has grown since the last one was signed.

        Args:
            now: nanoseconds UTC.

        Returns:
            The note, after it was synced; None where there is nothing new.

        Raises:
            LedgerUnavailable: nothing was signed for.
            LedgerCorrupt: the file is damaged.
        """
        head = self._tree.head
        if head.size == self.reader.checkpoint_size():
            return None
        note = sign_checkpoint(Checkpoint(self._origin, head), self._key)

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (head.size, now, note))
            db.execute(
                "DELETE FROM checkpoints WHERE size < (SELECT size FROM checkpoints"
                " ORDER BY size DESC LIMIT 1 OFFSET ?)",
                (CHECKPOINTS_KEPT_MAX - 1,),
            )

        self._change(write)
        return note

    def tell(self, name: str, now: int, notices: Iterable[Record]) -> bool:
        """Store notices under a name, once; return whether they were new.

        Raises:
            LedgerUnavailable: nothing was stored.
            LedgerCorrupt: the file is damaged.
        """

        def write(db: sqlite3.Connection) -> bool:
            cursor = db.execute("INSERT OR IGNORE INTO told VALUES (?, ?)", (name, now))
            if cursor.rowcount:
                add_pending(db, self.reader.mark(), notices)
            return bool(cursor.rowcount)

        return self._change(write)

    def pending(self, after: int, count_max: int) -> Sequence[Pending]:
        """Return notices that wait to be sealed (`PendingSource`)."""
        with translated(self._path):
            return read_pending(self._db, after, count_max)

    def forget(self, upto: int) -> None:
        """Drop notices that were sealed (`PendingSource`)."""
        self._change(lambda db: forget_pending(db, upto))

    def _load(self) -> CompactTree:
        with transaction(self._db):
            self._db.execute(
                "INSERT OR IGNORE INTO meta VALUES ('origin', ?)", (self._origin.encode(),)
            )
        found = dict(self._db.execute("SELECT name, value FROM meta").fetchall())
        if bytes(found["origin"]) != self._origin.encode():
            raise LedgerForeign(
                f"{self._path} is the log {bytes(found['origin']).decode()}, not {self._origin}",
                hint="a restored ledger begins a log of its own: move the old log.db away",
            )
        return CompactTree.from_state(found["tree"]) if "tree" in found else CompactTree()

    def _change(self, write: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self._path), transaction(self._db):
            return write(self._db)


class LogReader:
    """Reads one tenant's log; any thread and any process may.

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

    def mark(self) -> int:
        """Return the verified mark: every batch up to this position has been judged."""
        return int(self._one("SELECT coalesce(max(position), 0) FROM admitted")[0])

    def size(self) -> int:
        """Return how many entries the log has."""
        return int(self._one("SELECT coalesce(max(entry) + 1, 0) FROM entries")[0])

    def outcomes(self, after: int, count_max: int) -> Sequence[tuple[int, int]]:
        """Return (position, outcome) of batches behind a position, in order."""
        return self._ask(
            lambda db: db.execute(
                "SELECT position, outcome FROM admitted WHERE position > ?"
                " ORDER BY position LIMIT ?",
                (after, count_max),
            ).fetchall()
        )

    def is_told(self, name: str) -> bool:
        """Return whether notices were stored under this name."""
        return self._one("SELECT 1 FROM told WHERE name = ?", (name,)) is not None

    def newer(self, count_max: int) -> Sequence[int]:
        """Return positions of batches that said more than this version understood."""
        rows = self._ask(
            lambda db: db.execute(
                "SELECT position FROM admitted WHERE outcome & 4 ORDER BY position LIMIT ?",
                (count_max,),
            ).fetchall()
        )
        return [position for (position,) in rows]

    def refused(self) -> int:
        """Return how many batches were refused."""
        return int(self._one("SELECT count(*) FROM entries WHERE refusal IS NOT NULL")[0])

    def positions(self, header_hash: bytes) -> Sequence[tuple[int, int]]:
        """Return (entry, position) of admitted batches whose hash may be this one."""
        return self._ask(
            lambda db: db.execute(
                "SELECT entry, position FROM entries WHERE name = ? AND refusal IS NULL",
                (_short(header_hash),),
            ).fetchall()
        )

    def checkpoint_size(self) -> int:
        """Return the size that was last signed for; 0 where none was."""
        return int(self._one("SELECT coalesce(max(size), 0) FROM checkpoints")[0])

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint.

        Raises:
            NotLogged: none has been signed yet.
        """
        return self._checkpoint(0)[1]

    def newest(self) -> tuple[int, int, bytes] | None:
        """Return size, time of signing and note of the newest checkpoint; None before the first."""
        row = self._one("SELECT size, at, note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return None if row is None else (int(row[0]), int(row[1]), bytes(row[2]))

    def inclusion(self, index: int, size: int = 0) -> Inclusion:
        """Prove that an entry is in the log.

        Args:
            index: of the entry.
            size: of a checkpoint that is still kept; 0 for the newest.

        Raises:
            NotLogged: no checkpoint covers the entry yet, or that one is not kept.
        """
        signed_size, checkpoint = self._checkpoint(size)
        if index >= signed_size:
            raise NotLogged("no checkpoint covers the entry yet", hint="ask again in a second")
        path = self._ask(lambda db: inclusion_proof(index, signed_size, stored_nodes(db)))
        return Inclusion(index, path, checkpoint)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Prove that the tree of one size continues the tree of another.

        Raises:
            NotLogged: the log has not grown so far.
            ProofRejected: no proof leads from the one size to the other.
        """
        if second > self.size():
            raise NotLogged(f"the log has fewer than {second} entries")
        return self._ask(lambda db: consistency_proof(first, second, stored_nodes(db)))

    def head_at(self, size: int) -> TreeHead:
        """Return the tree's head when it had this size.

        Raises:
            NotLogged: the log has not grown so far.
        """
        if size > self.size():
            raise NotLogged(f"the log has fewer than {size} entries")
        return TreeHead(size, self._ask(lambda db: root_at(size, stored_nodes(db))))

    def _checkpoint(self, size: int) -> tuple[int, bytes]:
        row = self._one(
            "SELECT size, note FROM checkpoints WHERE ? IN (0, size) ORDER BY size DESC LIMIT 1",
            (size,),
        )
        if row is None:
            raise NotLogged("no such checkpoint is kept", hint="ask for the newest")
        return int(row[0]), bytes(row[1])

    def _one(self, query: str, values: tuple[object, ...] = ()) -> Any:  # noqa: ANN401  (a row, typed by schema)
        return self._ask(lambda db: db.execute(query, values).fetchone())

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self._path), self._lock:
            return question(self._db)


def _short(header_hash: bytes) -> int:
    """Return the first bytes of a hash as the number that an index holds."""
    return int.from_bytes(header_hash[:8], "big", signed=True)
