import contextlib
import sqlite3
from pathlib import Path

import pytest

from collector.issuer.errors import IssuerUnready
from collector.issuer.store import VERSION, Store, next_revision, revision


class Undo(Exception):
    pass


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        assert next_revision(db) == 1
    store.close()

    again = Store(tmp_path / "issuer.db")
    with again.reading() as db:
        assert revision(db) == 1
    again.close()


def test_an_error_undoes_the_whole_transaction(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")

    with contextlib.suppress(Undo), store.transaction() as db:
        next_revision(db)
        raise Undo

    with store.reading() as db:
        assert revision(db) == 0
    store.close()


def test_every_commit_is_synced_and_only_this_user_reads_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.reading() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)

    with store.transaction() as db:
        next_revision(db)

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "issuer.db-wal" in modes
    store.close()


@pytest.mark.parametrize(
    "statement",
    [f"PRAGMA user_version = {VERSION + 1}", "PRAGMA application_id = 7"],
    ids=["newer version", "another program"],
)
def test_a_file_of_a_newer_version_or_another_program_is_left_alone(
    tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "issuer.db"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()

    with pytest.raises(IssuerUnready):
        Store(path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "issuer.db"
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(IssuerUnready):
        Store(path)


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "issuer.db").symlink_to(tmp_path / "elsewhere.db")

    with pytest.raises(IssuerUnready):
        Store(tmp_path / "issuer.db")

    assert not (tmp_path / "elsewhere.db").exists()


def test_a_missing_directory_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(IssuerUnready):
        Store(tmp_path / "missing" / "issuer.db")


def test_an_error_of_the_database_is_told_in_our_words(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")

    with pytest.raises(IssuerUnready), store.transaction() as db:
        db.execute("INSERT INTO counters VALUES ('revision', 1)")

    store.close()
