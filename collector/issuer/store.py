"""``issuer.db``: one SQLite file, one connection, every commit on disk before it is answered.

Secrets never stand in it: of a join token its hash, of an agent its public key.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from collector.issuer.errors import IssuerUnready
from runtime.files import fsync_dir

VERSION = 1
BUSY_WAIT_S_MAX = 5.0

_APPLICATION_ID = 0x56_44_54_49  # "VDTI"
_SCHEMA = """
CREATE TABLE tenants(
    tenant     BLOB PRIMARY KEY CHECK (length(tenant) = 16),
    name       TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    revision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens(
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    tenant     BLOB NOT NULL REFERENCES tenants,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    used_ns    INTEGER,
    agent      BLOB,
    request    BLOB,
    proof      BLOB,
    serial     BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_tenant ON tokens(tenant, expires_ns);

CREATE TABLE agents(
    tenant            BLOB NOT NULL REFERENCES tenants,
    agent             BLOB NOT NULL CHECK (length(agent) = 16),
    signing_key       BLOB NOT NULL CHECK (length(signing_key) = 32),
    host_name         TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('active', 'locked', 'revoked')),
    reason            TEXT NOT NULL,
    enrolled_ns       INTEGER NOT NULL,
    changed_ns        INTEGER NOT NULL,
    current           BLOB NOT NULL,
    next              BLOB NOT NULL,
    generation        INTEGER NOT NULL,
    generation_stated INTEGER NOT NULL,
    recoveries        INTEGER NOT NULL,
    revision          INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX agents_by_revision ON agents(revision);

CREATE TABLE certificates(
    serial       BLOB PRIMARY KEY CHECK (length(serial) = 20),
    tenant       BLOB NOT NULL,
    agent        BLOB NOT NULL,
    generation   INTEGER NOT NULL,
    request      BLOB NOT NULL,
    proof        BLOB NOT NULL,
    not_after_ns INTEGER NOT NULL,
    chain        BLOB NOT NULL,
    FOREIGN KEY (tenant, agent) REFERENCES agents
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_end ON certificates(not_after_ns);

CREATE TABLE revocations(
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant BLOB NOT NULL,
    agent  BLOB NOT NULL,
    at_ns  INTEGER NOT NULL,
    by_uid INTEGER NOT NULL,
    reason TEXT NOT NULL,
    FOREIGN KEY (tenant, agent) REFERENCES agents
) STRICT;

CREATE TABLE audit(
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns     INTEGER NOT NULL,
    operation TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    tenant    BLOB,
    agent     BLOB,
    source    TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_outcome ON audit(outcome = 'granted', id);

CREATE TABLE counters(
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('revision', 0);
"""


class Store:
    """The open database; used by one thread at a time.

    Args:
        path: the file, made where there is none; its directory exists.

    Raises:
        IssuerUnready: it cannot be opened, is damaged, foreign, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated():
            _touch_private(path)
            self._db = sqlite3.connect(
                path, timeout=BUSY_WAIT_S_MAX, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the one write lock; commit at the end, or undo everything on an error.

        Raises:
            IssuerUnready: nothing was committed.
        """
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself where the disk failed.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one state of the database.

        Raises:
            IssuerUnready: it cannot be read.
        """
        with self._translated():
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; what was committed is on disk."""
        self._db.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise IssuerUnready(
                f"{self._path}: {error}", hint="see that the disk has space and the file is whole"
            ) from error
        except OSError as error:
            raise IssuerUnready(f"{self._path}: {error.strerror}") from error

    def _prepare(self) -> None:
        db = self._db
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application not in {0, _APPLICATION_ID} or version > VERSION:
            raise IssuerUnready(
                f"{self._path} belongs to another program or a newer version",
                hint="run the version that wrote it, or restore the backup made before the upgrade",
            )
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if version == 0:
            # Schema and version in one transaction: a crash leaves an empty file.
            db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id={_APPLICATION_ID};"
                f" PRAGMA user_version={VERSION}; COMMIT"
            )


def next_revision(db: sqlite3.Connection) -> int:
    """Count up, inside a transaction, and return the number that marks a change."""
    (value,) = db.execute(
        "UPDATE counters SET value = value + 1 WHERE name = 'revision' RETURNING value"
    ).fetchone()
    return int(value)


def revision(db: sqlite3.Connection) -> int:
    """Return the number of the newest change."""
    (value,) = db.execute("SELECT value FROM counters WHERE name = 'revision'").fetchone()
    return int(value)


def _touch_private(path: Path) -> None:
    # SQLite gives the files beside the database the mode of the database.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.close(fd)
    fsync_dir(path.parent)
