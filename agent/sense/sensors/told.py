"""What a sensor has told: rows it compares with, and a journal of what the seal may not hold yet.

A re-readable source must lose nothing and tell nothing twice, while the loop seals later than the
sensor tells. So each sighting gets the next *generation* and is kept in the journal, in one
transaction with the rows that make it old news, before the loop sees it. `cursor` names the newest
generation told. After a crash the loop gives back the newest cursor it has sealed: what the journal
holds beyond it is told again exactly as it was, and everything after it follows from the rows.

    nothing stored, not told        -> the source still differs from the rows: told
    stored, not sealed              -> the journal tells it again, byte for byte
    sealed, store lost (power cut)  -> told again: the one case of "twice"; never a loss

The database is our own file in the state directory of `sense`, bounded by ``max_page_count``. A
damaged one is moved aside and begun anew. When it cannot be written (a full disk) what was told is
kept in memory, bounded, and written when there is room: a full disk must not silence a sensor.
"""

import contextlib
import secrets
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from agent.sense.ports import Sighting
from runtime.errors import Fault, VedetteError

_PAGE_BYTES: Final = 4096
_CURSOR: Final = struct.Struct(">16sQq")
_CACHE_KIB: Final = 512
_PENDING_MAX: Final = 8192
_REBUILDS_MAX: Final = 3
_PRUNE_EVERY: Final = 1024
_WAL_BYTES_MAX: Final = 4 * 1024 * 1024
_FORMAT: Final = b"1"
_MEMORY: Final = Path(":memory:")
# What a disk or a directory does to a sound database; every other error is damage.
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)

# A damaged schema comes as an error whose text is the damage, which is not always text.
_FAILURES: Final = (sqlite3.Error, UnicodeDecodeError)

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS journal (generation INTEGER PRIMARY KEY, sighting BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sighting)


class ToldLimits(Struct, frozen=True):
    """How much a sensor may keep."""

    size_bytes_max: int
    journal_rows_max: int


class Opening(Struct, frozen=True):
    """How a state was found.

    ``is_new`` says that no row is there to compare with; ``lost`` is why, or empty when there never
    was one. ``seen`` is the wall time up to which the source was certainly watched, or None.
    """

    is_new: bool
    lost: str = ""
    seen: int | None = None


class StateLost(VedetteError):
    """The database was damaged while in use; `Told.reopen` begins a new one."""

    fault: ClassVar[Fault] = Fault.HOST


class Told:
    """The state of one sensor.

    Args:
        path: the database; its directory belongs to `sense` alone.
        limits: of its size.
    """

    def __init__(self, path: Path, limits: ToldLimits) -> None:
        self._path = path
        self._limits = limits
        self._db: sqlite3.Connection | None = None
        self._id = bytes(16)
        self._generation = 0
        self._returned = 0
        self._pruned = 0
        self._seen = 0
        self._rows: dict[bytes, bytes | None] = {}
        self._journal: dict[int, bytes] = {}
        self._standing = ""
        self._passing = ""
        self.rebuilt = 0
        self.forgotten = 0

    @property
    def problem(self) -> str:
        """Why a restart would tell some things again; empty while all is stored."""
        return self._standing or self._passing

    @property
    def id(self) -> bytes:
        """16 random bytes that the database was born with."""
        return self._id

    def open(self, cursor: bytes) -> Opening:
        """Open the database, or begin one; never fails.

        Args:
            cursor: the newest sealed one, from `cursor`; untrusted only as to its age.
        """
        owner, sealed, seen = _parsed(cursor)
        existed = _quietly(self._path.stat)
        try:
            self._connect()
            is_ours = existed and self._read_facts()
        except StateLost as error:
            self._set_aside()
            return self._begin(f"the state was damaged: {error}", seen)
        if not is_ours:
            return self._begin("the state is gone" if cursor else "", seen)
        if owner != self._id:
            sealed, seen = 0, self._seen
        if sealed < self._pruned:
            return self._begin("more was told than the journal keeps", seen or self._seen)
        self._returned = sealed
        self._generation = max(self._generation, sealed)
        self._seen = max(self._seen, seen or 0)
        return Opening(is_new=False, seen=self._seen or None)

    def reopen(self, reason: str) -> Opening:
        """Begin a new database after `StateLost`."""
        seen = self._seen or None
        self.close()
        self._set_aside()
        return self._begin(reason, seen)

    def replay(self, count_max: int) -> list[Sighting]:
        """Return what was told beyond the sealed cursor and not yet told again, oldest first.

        Raises:
            StateLost: the database is damaged.
        """
        if self._returned >= self._generation:
            return []
        rows = self._read(
            "SELECT generation, sighting FROM journal WHERE generation > ?"
            " ORDER BY generation LIMIT ?",
            (self._returned, count_max),
            (int, bytes),
        )
        if len(rows) < count_max:
            self._returned = self._generation
        else:
            self._returned = rows[-1][0]
        try:
            return [_decoder.decode(row[1]) for row in rows]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StateLost("the journal cannot be read") from error

    def get(self, key: bytes) -> bytes | None:
        """Return the row of ``key``, or None.

        Raises:
            StateLost: the database is damaged.
        """
        if key in self._rows:
            return self._rows[key]
        rows = self._read("SELECT value FROM rows WHERE key = ?", (key,), (bytes,))
        return rows[0][0] if rows else None

    def between(self, low: bytes, high: bytes, count_max: int) -> list[tuple[bytes, bytes]]:
        """Return rows with ``low <= key < high`` in the order of their keys.

        Rows of the poll that is going on may be missing or stale: compare again with `get`.

        Raises:
            StateLost: the database is damaged.
        """
        return self._read(
            "SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
            (low, high, count_max),
            (bytes, bytes),
        )

    def is_written(self, key: bytes) -> bool:
        """Tell whether `between` knows of the row all that `get` does."""
        return key not in self._rows

    def count(self) -> int:
        """Return the number of rows, near enough while some wait to be written.

        Raises:
            StateLost: the database is damaged.
        """
        stored: int = self._read("SELECT count(*) FROM rows", (), (int,))[0][0]
        return stored + len(self._rows)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Keep a row, or forget it; durable with the next `commit`."""
        self._rows.pop(key, None)
        self._rows[key] = value

    def tell(self, sighting: Sighting) -> None:
        """Give the sighting its generation; durable with the next `commit`."""
        self._generation += 1
        self._journal[self._generation] = _encoder.encode(sighting)

    def commit(self, seen: int) -> None:
        """Write what waits; what cannot be written waits on, and `problem` says why.

        Args:
            seen: wall time up to which the source has been looked at.

        Raises:
            StateLost: the database is damaged.
        """
        self._returned = self._generation
        if not self._rows and not self._journal:
            return
        self._seen = seen
        self._passing = self._attempt(self._write)
        if self._passing and self._attempt(self._prune_half) == "":
            self._passing = self._attempt(self._write)
        if not self._passing:
            # Not before the commit: a full disk is often heard of no sooner.
            self._rows.clear()
            self._journal.clear()
        self._bound_pending()

    def note_seen(self, seen: int) -> None:
        """Remember, in the cursor alone, that the source was looked at and nothing was new."""
        self._seen = seen

    def cursor(self) -> bytes:
        """Return the place up to which sightings were given out."""
        return _CURSOR.pack(self._id, self._returned, self._seen)

    def close(self) -> None:
        """Close the database; harmless when repeated."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):  # what cannot be closed is of no more use
                self._db.close()
            self._db = None
        self._rows.clear()
        self._journal.clear()

    # ------------------------------------------------------------------ the database

    def _connect(self) -> None:
        """Open or create the file, or fall back on memory where that is refused."""
        self._standing = ""
        if self.rebuilt > _REBUILDS_MAX:
            self._use_memory("it is damaged again and again")
            return
        try:
            self._db = self._prepared(self._path)
        except _FAILURES as error:
            if _is_damage(error):
                raise StateLost(str(error)) from error
            self._use_memory(str(error))

    def _use_memory(self, why: str) -> None:
        self._standing = f"the state is kept in memory only: {why}"
        self._db = self._prepared(_MEMORY)

    def _prepared(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            # Exclusive first: the log's index then lies in our memory and not in a mapped file,
            # where a full or failing disk would be a signal that kills us.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
            db.execute(f"PRAGMA max_page_count = {self._limits.size_bytes_max // _PAGE_BYTES}")
            _check(db)
            for statement in _SCHEMA:
                db.execute(statement)
        except _FAILURES:
            db.close()
            raise
        return db

    def _read_facts(self) -> bool:
        """Read what the database says of itself; False where that is nothing of ours."""
        rows = self._read("SELECT name, value FROM facts", (), (str, bytes))
        facts: dict[str, bytes] = dict(rows)
        try:
            self._id = facts["id"]
            self._generation = int(facts["generation"])
            self._pruned = int(facts["pruned"])
            self._seen = int(facts["seen"])
        except (KeyError, ValueError):
            return False
        return facts.get("format") == _FORMAT and len(self._id) == 16

    def _begin(self, lost: str, seen: int | None) -> Opening:
        """Give an empty database a name of its own."""
        self.rebuilt += bool(lost)
        self._id = secrets.token_bytes(16)
        self._generation = self._returned = self._pruned = 0
        self._seen = seen or 0
        self._rows.clear()
        self._journal.clear()
        try:
            if self._db is None:
                self._connect()
            self._passing = self._attempt(self._write_anew)
        except StateLost as error:
            self._set_aside()
            self._use_memory(error.message)
            self._passing = self._attempt(self._write_anew)
        return Opening(is_new=True, lost=lost, seen=seen)

    def _set_aside(self) -> None:
        """Keep one damaged database for whoever wants to look."""
        self.close()
        for suffix in ("-wal", "-shm"):
            _quietly(self._path.with_name(self._path.name + suffix).unlink)
        damaged = self._path.with_name(self._path.name + ".damaged")
        if not _quietly(lambda: self._path.replace(damaged)):
            _quietly(self._path.unlink)

    def _read(
        self, sql: str, values: tuple[object, ...], kinds: tuple[type, ...]
    ) -> list[tuple[Any, ...]]:
        """Return rows whose cells are of these types; in a damaged file they may be of any."""
        if self._db is None:
            return []
        try:
            rows: list[tuple[Any, ...]] = self._db.execute(sql, values).fetchall()
        except _FAILURES as error:
            raise StateLost(str(error)) from error
        if any(tuple(map(type, row)) != kinds for row in rows):
            raise StateLost("a cell is of another type than it was written")
        return rows

    def _attempt(self, work: Callable[[sqlite3.Connection], object]) -> str:
        """Run one transaction; return why it did not happen, or nothing."""
        if self._db is None:
            return "the state is closed"
        try:
            self._db.execute("BEGIN IMMEDIATE")
            work(self._db)
            self._db.execute("COMMIT")
        except _FAILURES as error:
            if _is_damage(error) or not self._is_rolled_back():
                raise StateLost(str(error)) from error
            return str(error)
        return ""

    def _is_rolled_back(self) -> bool:
        """Undo what a failed transaction has begun; False where not even that succeeds."""
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except _FAILURES:
                return False
        return True

    def _write_anew(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM rows")
        db.execute("DELETE FROM journal")
        self._write(db)

    def _write(self, db: sqlite3.Connection) -> None:
        gone = [(key,) for key, value in self._rows.items() if value is None]
        kept = [(key, value) for key, value in self._rows.items() if value is not None]
        db.executemany("DELETE FROM rows WHERE key = ?", gone)
        db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", kept)
        db.executemany("INSERT OR REPLACE INTO journal VALUES (?, ?)", self._journal.items())
        self._prune(db, self._limits.journal_rows_max, slack=_PRUNE_EVERY)
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", self._facts())

    def _facts(self) -> Iterator[tuple[str, bytes]]:
        yield "format", _FORMAT
        yield "id", self._id
        yield "generation", b"%d" % self._generation
        yield "pruned", b"%d" % self._pruned
        yield "seen", b"%d" % self._seen

    def _prune(self, db: sqlite3.Connection, keep: int, *, slack: int) -> None:
        upto = self._generation - keep
        if upto > self._pruned + slack:
            db.execute("DELETE FROM journal WHERE generation <= ?", (upto,))
            self._pruned = upto

    def _prune_half(self, db: sqlite3.Connection) -> None:
        self._prune(db, max((self._generation - self._pruned) // 2, 1), slack=0)
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", self._facts())

    def _bound_pending(self) -> None:
        """Forget the oldest of what cannot be written: it will be told again, not lost."""
        while len(self._rows) > _PENDING_MAX:
            del self._rows[next(iter(self._rows))]
            self.forgotten += 1
        while len(self._journal) > _PENDING_MAX:
            del self._journal[next(iter(self._journal))]


def _parsed(cursor: bytes) -> tuple[bytes, int, int | None]:
    if len(cursor) != _CURSOR.size:
        return b"", 0, None
    owner, generation, seen = _CURSOR.unpack(cursor)
    return owner, generation, seen or None


def _check(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("quick_check found damage")


def _is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF not in _PASSING


def _quietly(work: Callable[[], object]) -> bool:
    """Run a step of tidying that may fail; return whether it did not."""
    try:
        work()
    except OSError:
        return False
    return True
