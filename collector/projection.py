"""Runs one projection over one tenant's admitted batches.

The cursor stands beside the effects and moves in their transaction, so a crash costs at most a
chunk that is applied again from the same state. What a projection derives waits in a table of the
same transaction until it is sealed (`collector.ledger.derived`).

A batch that makes a projection fail is a fault of ours, not a reason to stop: its effects are
undone, it is noted in ``poison`` and logged, and the next one follows. Only a failing disk stops
the runner, and then nothing has moved.

A projection can be thrown away: ``rebuild`` applies every batch anew and, up to where the old file
had come, throws away what is derived, because it has been sealed before.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol, runtime_checkable

from msgspec import Meta, Struct

from certs.identity import TenantId
from collector.ledger.admitted import AdmittedReader
from collector.ledger.database import open_writer, transaction, translated
from collector.ledger.pending import (
    SCHEMA,
    Pending,
    add_pending,
    count_from,
    forget_pending,
    read_pending,
)
from collector.ledger.ports import Mark
from collector.ports import AdmittedBatch, LiveProjection, Projection
from proto.model import Record
from runtime.clock import NS_PER_S, Clock
from runtime.errors import VedetteError
from runtime.logs import logger

STATE_VERSION: Final = 1
_OWN: Final = frozenset({"cursor", "poison", "pending"})

# Faults in the projection's own code, or of data it did not foresee. A failing disk is none of
# them, and neither is running out of memory.
POISON: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    VedetteError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)

_STATE = """
CREATE TABLE IF NOT EXISTS cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    -- Up to here everything derived has been sealed by an earlier life of this file.
    silent_upto INTEGER NOT NULL
);
INSERT OR IGNORE INTO cursor VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS poison (
    position INTEGER PRIMARY KEY,
    error TEXT NOT NULL
);
"""


class ProjectionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much is applied in one transaction."""

    # More makes catching up faster and a lone batch no slower.
    chunk_batches_max: Annotated[int, Meta(ge=1, le=4096)] = 64


class Lag(Struct, frozen=True):
    """How far a projection is behind, in plain numbers.

    Args:
        batches: below the verified mark and not applied yet.
        seconds: since the oldest of them was received; 0 when there is none.
        pending: derived records that wait for their seal.
        poisoned: batches it could not take in.
    """

    batches: int
    seconds: float
    pending: int
    poisoned: int


class Place(Struct, frozen=True):
    """Where a projection runs.

    Args:
        tenant: whose batches.
        path: the projection's file; its directory exists.
        source: where the batches come from.
        mark: how far a source of derived records has been sealed (`OwnLedger.mark`).
    """

    tenant: TenantId
    path: Path
    source: AdmittedReader
    mark: Callable[[TenantId, str], Mark]


class ProjectionRunner:
    """Runs a projection; one thread at a time.

    Args:
        projection: what to run.
        place: where.
        clock: for ticks and lags.
        settings: how much at once.

    Raises:
        LedgerUnavailable: the file cannot be opened or made now.
        LedgerCorrupt: it is damaged; it may be deleted, and is then built anew.
        LedgerForeign: a newer version wrote it.
    """

    def __init__(
        self,
        projection: Projection | LiveProjection,
        place: Place,
        clock: Clock,
        settings: ProjectionSettings | None = None,
    ) -> None:
        self.name = projection.name
        self.tenant = place.tenant
        self._projection = projection
        self._place = place
        self._clock = clock
        self._settings = settings or ProjectionSettings()
        self._log = logger(__name__).bind(tenant=str(place.tenant), projection=projection.name)
        self._db = _open(place, projection)
        with translated(place.path):
            self.cursor, self._silent_upto = _cursor(self._db)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def step(self) -> int:
        """Apply one chunk; return by how many batches the cursor moved, 0 when it is at the mark.

        Raises:
            LedgerUnavailable: the cursor has not moved.
            LedgerCorrupt: a file is damaged.
        """
        chunk = self._place.source.chunk(self.cursor, self._settings.chunk_batches_max)
        if chunk.upto == self.cursor:
            return 0

        def apply() -> None:
            for batch in chunk.batches:
                self._apply(batch)
            self._db.execute("UPDATE cursor SET position = ?", (chunk.upto,))

        self._change(apply)
        moved, self.cursor = chunk.upto - self.cursor, chunk.upto
        return moved

    def tick(self) -> None:
        """Let a live projection look at the clock, once it has caught up with its own past.

        Raises:
            LedgerUnavailable: nothing has changed.
            LedgerCorrupt: the file is damaged.
        """
        projection = self._projection
        if not isinstance(projection, _Ticking) or self.cursor < self._silent_upto:
            return
        now = self._clock.wall_ns()

        def look() -> None:
            derived = self._guarded(lambda: projection.tick(self._db, self.tenant, now), None)
            add_pending(self._db, self.cursor, derived)

        self._change(look)

    def rebuild(self) -> None:
        """Throw away every effect, to be applied anew by the steps that follow.

        What waits for its seal goes on waiting; what was sealed is not sealed again. It is one
        transaction: who reads the file sees the old effects or none.

        Raises:
            LedgerUnavailable: everything is as it was.
            LedgerCorrupt: the file is damaged.
        """

        def forget() -> None:
            for kind, name in _objects(self._db):
                self._db.execute(f'DROP {kind} IF EXISTS "{name}"')
            for statement in _statements(self._projection.schema):
                self._db.execute(statement)
            self._db.execute("DELETE FROM poison")
            self._db.execute(
                "UPDATE cursor SET silent_upto = max(silent_upto, position), position = 0"
            )

        self._change(forget)
        with translated(self._place.path):
            self.cursor, self._silent_upto = _cursor(self._db)

    def lag(self) -> Lag:
        """Return how far the projection is behind.

        Raises:
            LedgerUnavailable: it cannot be read now.
            LedgerCorrupt: a file is damaged.
        """
        received = self._place.source.received_after(self.cursor)
        age = max(0, self._clock.wall_ns() - received) if received else 0
        with translated(self._place.path):
            (pending,) = self._db.execute("SELECT count(*) FROM pending").fetchone()
            (poisoned,) = self._db.execute("SELECT count(*) FROM poison").fetchone()
        batches = max(0, self._place.source.mark() - self.cursor)
        return Lag(batches, age / NS_PER_S, pending, poisoned)

    def pending(self, after: int, count_max: int) -> Sequence[Pending]:
        """Return derived records that wait for their seal (`PendingSource`)."""
        with translated(self._place.path):
            return read_pending(self._db, after, count_max)

    def forget(self, upto: int) -> None:
        """Drop derived records that were sealed (`PendingSource`)."""
        self._change(lambda: forget_pending(self._db, upto))

    def _apply(self, batch: AdmittedBatch) -> None:
        derived = self._guarded(lambda: self._projection.apply(self._db, batch), batch.position)
        if batch.position > self._silent_upto:
            add_pending(self._db, batch.position, derived)

    def _guarded(
        self, work: Callable[[], Sequence[Record]], position: int | None
    ) -> Sequence[Record]:
        """Do the projection's own work; undo it alone, and note it, where it fails."""
        self._db.execute("SAVEPOINT own")
        try:
            derived = work()
        except POISON as error:
            self._db.execute("ROLLBACK TO own")
            self._db.execute("RELEASE own")
            self._log.error("projection failed and goes on", position=position, error=error)
            if position is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO poison VALUES (?, ?)",
                    (position, f"{type(error).__name__}: {error}"[:500]),
                )
            return ()
        self._db.execute("RELEASE own")
        return derived

    def _change(self, change: Callable[[], None]) -> None:
        with translated(self._place.path), transaction(self._db):
            change()


@runtime_checkable
class _Ticking(Protocol):
    """What makes a projection a live one."""

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]: ...


def _open(place: Place, projection: Projection) -> sqlite3.Connection:
    """Open the projection's file; a new one goes on where sealing has come to."""
    is_new = not place.path.exists()
    db = open_writer(place.path, f"{_STATE} {SCHEMA} {projection.schema}", STATE_VERSION)
    if is_new:
        mark = place.mark(place.tenant, projection.name)
        with translated(place.path), transaction(db):
            count_from(db, mark.pending)
            db.execute("UPDATE cursor SET silent_upto = ?", (mark.position,))
    return db


def _cursor(db: sqlite3.Connection) -> tuple[int, int]:
    position, silent_upto = db.execute("SELECT position, silent_upto FROM cursor").fetchone()
    return int(position), int(silent_upto)


def _objects(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return what a projection's schema has made: a virtual table before the tables it stands on.

    Indexes and triggers go with their tables.
    """
    rows = db.execute(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY type = 'view' DESC, sql LIKE 'CREATE VIRTUAL%' DESC"
    )
    return [(kind, name) for kind, name in rows if name not in _OWN]


def _statements(script: str) -> Iterator[str]:
    """Yield a script's statements, so that they can stand in a transaction."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
