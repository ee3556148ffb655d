"""Opening SQLite files so that a commit is on disk, and saying in our words what went wrong.

Every file is in WAL mode with ``synchronous=FULL``: a commit has returned only after fdatasync.

A writer begins by moving everything in the write-ahead log into the main file, synced. After a
failed sync the kernel may show pages that never reached the disk; a process that starts then would
build on them. Writing and syncing them anew settles it before anything is acknowledged.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.errors import LedgerCorrupt, LedgerForeign, LedgerUnavailable
from runtime.files import fsync_dir

PAGE_SIZE_BYTES = 8192
# The write-ahead log is moved into the main file each time it has grown by this much.
CHECKPOINT_SIZE_BYTES = 8 * 1024 * 1024
JOURNAL_SIZE_BYTES_MAX = 64 * 1024 * 1024
BUSY_WAIT_S_MAX = 5.0

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def open_writer(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open a file for writing, made now where there is none.

    The connection is in autocommit mode: transactions begin and end in plain sight. It may pass
    from thread to thread, one at a time.

    Args:
        path: the file; its directory exists.
        schema: statements that make its tables.
        version: of the schema; counts up with every change of it.

    Raises:
        LedgerUnavailable: the disk is full or failing, or somebody else holds the file.
        LedgerCorrupt: not an SQLite file, or a damaged one.
        LedgerForeign: a newer version of the product wrote it.
    """
    is_new = not path.exists()
    with translated(path):
        db = sqlite3.connect(
            path, timeout=BUSY_WAIT_S_MAX, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(db)
            _migrate(db, path, schema, version)
        except BaseException:
            db.close()
            raise
    if is_new:
        fsync_dir(path.parent)
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file that another process may be writing.

    Raises:
        LedgerUnavailable: there is no such file, or it cannot be read now.
        LedgerCorrupt: not an SQLite file, or a damaged one.
    """
    with translated(path):
        if not path.exists():
            raise LedgerUnavailable(f"there is no {path}")
        db = sqlite3.connect(
            path, timeout=BUSY_WAIT_S_MAX, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA query_only=ON")
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as errors of the ledger.

    Raises:
        LedgerUnavailable: the disk is full or failing, or the file is held.
        LedgerCorrupt: the file is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _CORRUPT:
            raise LedgerCorrupt(
                f"{path} is damaged: {error}",
                hint="restore it from a backup; keep the file",
                path=path,
            ) from error
        hint = "the disk is full: free space" if code == sqlite3.SQLITE_FULL else ""
        raise LedgerUnavailable(f"{path}: {error}", hint=hint) from error
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the file's one write lock; commit at the end, or undo everything on an error.

    Raises:
        sqlite3.Error: nothing was committed.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself where the disk failed.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _prepare(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA page_size={PAGE_SIZE_BYTES}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_SIZE_BYTES // PAGE_SIZE_BYTES}")
    db.execute(f"PRAGMA journal_size_limit={JOURNAL_SIZE_BYTES_MAX}")
    (busy, _, _) = db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    if busy:
        raise LedgerUnavailable("another process holds the write-ahead log")


def _migrate(db: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise LedgerForeign(
            f"{path} was written by a newer version",
            hint="run that version, or restore the backup made before the upgrade",
        )
    if found == version:
        return
    # Schema and version in one transaction: a crash leaves the file as it was.
    db.executescript(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version={version}; COMMIT")
