"""One tenant's ledger file, open for writing: a change is one transaction, synced at its end."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from certs.identity import AgentId, TenantId
from collector.errors import LedgerForeign
from collector.ledger import schema
from collector.ledger.database import open_writer, transaction, translated
from collector.ledger.flags import Flag, insert_flag, release_flags
from collector.ledger.history import History, newest_epochs
from collector.ledger.ports import Mark, Outcome, OwnPlace, Seal, SealedBatch
from collector.ledger.taking import Taking

T = TypeVar("T")


class TenantStore:
    """Writes one tenant's ledger; one thread at a time.

    Args:
        path: the file; its directory exists.
        tenant: whose it is.
        random: n unpredictable bytes, for the generation of a new file.

    Raises:
        LedgerUnavailable: the file cannot be opened or made now.
        LedgerCorrupt: it is damaged.
        LedgerForeign: it is another tenant's, or of a newer version.
    """

    def __init__(self, path: Path, tenant: TenantId, random: Callable[[int], bytes]) -> None:
        self._path = path
        self._db = open_writer(path, schema.LEDGER, schema.LEDGER_VERSION)
        self._history = History(self._db)
        self._agents: set[bytes] = set()
        try:
            with translated(path):
                self.generation = _identify(self._db, path, tenant, random(16))
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def append(self, batches: Sequence[SealedBatch], now: int) -> list[Outcome]:
        """Keep batches, all or none (`Ledger.append`).

        Args:
            batches: in the order of their arrival.
            now: nanoseconds UTC.

        Raises:
            LedgerUnavailable: nothing was kept.
            LedgerCorrupt: the file is damaged.
        """

        def keep() -> list[Outcome]:
            taking = Taking(self._db, self._history, self._agents)
            taken = [taking.take(batch) for batch in batches]
            taking.finish(now)
            heads = {one.epoch.row: one.epoch.to_head() for one in taken}
            return [Outcome(one.verdict, heads[one.epoch.row], one.beside) for one in taken]

        return self._change(keep)

    def append_own(self, agent: AgentId, mark: Mark | None, seal: Seal, now: int) -> Outcome | None:
        """Seal and keep one batch of the collector's own (`OwnLedger.append_own`).

        Raises:
            LedgerUnavailable: nothing was kept.
            LedgerCorrupt: the file is damaged.
        """

        def keep() -> Outcome | None:
            if mark is not None and not _advance(self._db, mark):
                return None
            taking = Taking(self._db, self._history, self._agents)
            taken = taking.take(seal(_own_place(self._db, agent)))
            taking.finish(now)
            self._db.execute("UPDATE agents SET is_own = 1 WHERE agent = ?", (agent.bytes,))
            return Outcome(taken.verdict, taken.epoch.to_head())

        return self._change(keep)

    def flag(self, flag: Flag) -> None:
        """Note a break in a history that shows only after its batch came.

        Raises:
            LedgerUnavailable: nothing was noted.
            LedgerCorrupt: the file is damaged.
        """
        self._change(lambda: insert_flag(self._db, flag))

    def release(self, agent: AgentId) -> int:
        """Trust an agent again, from the next batch on; return how many breaks were in force.

        Raises:
            LedgerUnavailable: nothing has changed.
            LedgerCorrupt: the file is damaged.
        """
        return self._change(lambda: release_flags(self._db, agent.bytes))

    def _change(self, change: Callable[[], T]) -> T:
        try:
            with translated(self._path), transaction(self._db):
                return change()
        except BaseException:
            # What is cached ran ahead of the file.
            self._history.forget()
            self._agents.clear()
            raise


def _identify(db: sqlite3.Connection, path: Path, tenant: TenantId, generation: bytes) -> bytes:
    """Return the file's generation, given to it now where it is new."""
    with transaction(db):
        db.execute("INSERT OR IGNORE INTO meta VALUES ('tenant', ?)", (tenant.bytes,))
        db.execute("INSERT OR IGNORE INTO meta VALUES ('generation', ?)", (generation,))
    found = dict(db.execute("SELECT name, value FROM meta").fetchall())
    if found["tenant"] != tenant.bytes:
        raise LedgerForeign(f"{path} holds another tenant's batches")
    return bytes(found["generation"])


def _advance(db: sqlite3.Connection, mark: Mark) -> bool:
    """Move a source's mark; return whether it had not come so far before."""
    cursor = db.execute(
        "INSERT INTO marks VALUES (?1, ?2, ?3) ON CONFLICT (name)"
        " DO UPDATE SET pending = ?2, position = ?3 WHERE pending < ?2",
        (mark.name, mark.pending, mark.position),
    )
    return cursor.rowcount == 1


def _own_place(db: sqlite3.Connection, agent: AgentId) -> OwnPlace:
    newest = newest_epochs(db, agent.bytes, 1)
    if not newest:
        return OwnPlace(epoch=None, seq=1, previous=b"")
    head = newest[0].chain.head
    return OwnPlace(epoch=newest[0].epoch, seq=head.seq + 1, previous=head.hash)
