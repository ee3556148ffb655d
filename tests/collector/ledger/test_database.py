import sqlite3
from pathlib import Path

import pytest

from collector.errors import LedgerCorrupt, LedgerForeign, LedgerUnavailable
from collector.ledger.database import open_reader, open_writer, transaction, translated

SCHEMA = "CREATE TABLE t (x INTEGER PRIMARY KEY)"


def test_a_writer_syncs_every_commit(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "a.db", SCHEMA, 1)

    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_transaction_commits_whole_or_not_at_all(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "a.db", SCHEMA, 1)

    with transaction(db):
        db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError), transaction(db):
        db.executemany("INSERT INTO t VALUES (?)", [(2,), (1,)])

    assert db.execute("SELECT x FROM t").fetchall() == [(1,)]
    assert not db.in_transaction


def test_opening_again_keeps_what_was_committed(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "a.db", SCHEMA, 1)
    db.execute("INSERT INTO t VALUES (7)")
    db.close()

    again = open_writer(tmp_path / "a.db", SCHEMA, 1)

    assert again.execute("SELECT x FROM t").fetchall() == [(7,)]


def test_opening_moves_the_log_into_the_file_before_anything_is_written(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "a.db", SCHEMA, 1)
    db.execute("INSERT INTO t VALUES (7)")
    left = (tmp_path / "a.db-wal").read_bytes()
    db.close()
    (tmp_path / "a.db-wal").write_bytes(left)

    again = open_writer(tmp_path / "a.db", SCHEMA, 1)
    copy = tmp_path / "b.db"
    copy.write_bytes((tmp_path / "a.db").read_bytes())

    assert sqlite3.connect(copy).execute("SELECT x FROM t").fetchall() == [(7,)]
    again.close()


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    open_writer(tmp_path / "a.db", SCHEMA, 3).close()

    with pytest.raises(LedgerForeign) as caught:
        open_writer(tmp_path / "a.db", SCHEMA, 2)

    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"not a database" * 100)

    with pytest.raises(LedgerCorrupt):
        open_writer(tmp_path / "a.db", SCHEMA, 1)
    with pytest.raises(LedgerCorrupt):
        open_reader(tmp_path / "a.db")


def test_a_reader_needs_the_file_and_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        open_reader(tmp_path / "a.db")
    open_writer(tmp_path / "a.db", SCHEMA, 1).close()

    reader = open_reader(tmp_path / "a.db")

    with pytest.raises(LedgerUnavailable), translated(tmp_path):
        reader.execute("INSERT INTO t VALUES (1)")


def test_a_full_disk_is_told_as_such_and_can_be_tried_again(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "a.db", "CREATE TABLE t (x BLOB)", 1)
    db.execute("PRAGMA max_page_count=4")

    with (
        pytest.raises(LedgerUnavailable, match="free space") as caught,
        translated(tmp_path / "a.db"),
        transaction(db),
    ):
        db.execute("INSERT INTO t VALUES (zeroblob(1000000))")

    assert caught.value.retryable
    assert not db.in_transaction


def test_a_file_somebody_else_is_writing_is_unavailable(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "a.db", SCHEMA, 1)
    other = open_writer(tmp_path / "a.db", SCHEMA, 1)
    other.execute("PRAGMA busy_timeout=1")

    with (
        transaction(db),
        pytest.raises(LedgerUnavailable),
        translated(tmp_path),
        transaction(other),
    ):
        pass
