"""What SQLite wrote is read as SQLite reads it, and any bytes do no harm."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.sense.sensors.sqlitefile import NotSqlite, SqliteFile, Value

CELLS = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.binary(max_size=5000),
    st.text(max_size=99),
)
REUSED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


class Counting(SqliteFile):
    """Counts the pages that are read."""

    pages = 0

    def page(self, number: int) -> bytes:
        self.pages += 1
        return super().page(number)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[SqliteFile]:
    wal = path.with_name(path.name + "-wal")
    fds = [os.open(path, os.O_RDONLY)]
    if wal.exists():
        fds.append(os.open(wal, os.O_RDONLY))
    try:
        yield SqliteFile(*fds)
    finally:
        for fd in fds:
            os.close(fd)


def rows_of(path: Path, table: str = "t") -> list[list[object]]:
    with opened(path) as file:
        return [
            [cell.read(0, cell.size) if isinstance(cell, Value) else cell for cell in row]
            for row in file.rows(table)
        ]


def plain(row: tuple[object, ...]) -> list[object]:
    return [cell.encode() if isinstance(cell, str) else cell for cell in row]


def a_database(path: Path, rows: list[tuple[object, ...]], page_bytes: int = 4096) -> Path:
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA page_size = {page_bytes}")
    db.execute("CREATE TABLE other (x)")
    db.execute("CREATE TABLE t (a, b)")
    db.executemany("INSERT INTO t VALUES (?, ?)", rows)
    db.commit()
    db.close()
    return path


@REUSED
@given(
    st.lists(st.tuples(CELLS, CELLS.filter(lambda cell: cell is not None)), max_size=60),
    st.sampled_from([512, 1024, 4096, 65536]),
)
def test_rows_are_what_was_inserted(
    tmp_path: Path, rows: list[tuple[object, ...]], page_bytes: int
) -> None:
    path = a_database(tmp_path / "db", [(cell or 1, other) for cell, other in rows], page_bytes)

    assert rows_of(path) == [plain((cell or 1, other)) for cell, other in rows]


def test_a_tree_of_many_pages_is_walked_in_order(tmp_path: Path) -> None:
    path = a_database(tmp_path / "db", [(n, "x" * 40) for n in range(1, 20_000)], 512)

    assert [row[0] for row in rows_of(path)] == list(range(1, 20_000))


def test_the_number_of_a_row_stands_where_it_is_a_column(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "db")
    db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, b)")
    db.executemany("INSERT INTO t VALUES (?, ?)", [(7, b"x"), (900, b"y")])
    db.commit()
    db.close()

    assert rows_of(tmp_path / "db") == [[7, b"x"], [900, b"y"]]


def test_what_was_committed_to_the_log_counts_and_what_was_not_does_not(tmp_path: Path) -> None:
    path = tmp_path / "db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA cache_size = 1")
    db.execute("CREATE TABLE t (a, b)")
    db.execute("INSERT INTO t VALUES (1, 'in the log')")
    db.commit()
    before = rows_of(path)
    db.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 3000) for n in range(2, 100)])
    during = rows_of(path)
    db.rollback()
    db.close()

    assert path.with_name("db-wal").exists() is False
    assert before == during == [[1, b"in the log"]]


def test_a_log_that_began_anew_does_not_bring_back_what_was(tmp_path: Path) -> None:
    path = tmp_path / "db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (a, b)")
    db.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 3000) for n in range(50)])
    db.commit()
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    db.execute("DELETE FROM t WHERE a > 0")
    db.commit()

    rows = rows_of(path)
    db.close()

    assert [row[0] for row in rows] == [0]


def test_the_beginning_of_a_long_value_is_read_alone(tmp_path: Path) -> None:
    path = a_database(tmp_path / "db", [(1, os.urandom(4096) * 200)])
    fd = os.open(path, os.O_RDONLY)
    file = Counting(fd)
    ((_, value),) = file.rows("t")
    assert isinstance(value, Value)
    before = file.pages

    assert len(value.read(0, 6000)) == 6000
    os.close(fd)
    assert file.pages - before == 2


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(4096)])
def test_what_is_no_database_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(data)

    with pytest.raises(NotSqlite):
        rows_of(tmp_path / "db")


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotSqlite):
        rows_of(a_database(tmp_path / "db", []), "nothing")


@REUSED
@given(st.data())
def test_damage_anywhere_ends_with_rows_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = a_database(tmp_path / "db", [(n, b"x" * 700) for n in range(40)], 512)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.integers(100, len(raw)))]))

    with contextlib.suppress(NotSqlite):
        rows_of(path)


@REUSED
@given(st.binary(max_size=600))
def test_any_bytes_behind_a_header_end_with_rows_or_are_refused(
    tmp_path: Path, data: bytes
) -> None:
    path = a_database(tmp_path / "db", [(1, b"x")], 512)
    path.write_bytes(path.read_bytes()[:100] + data)
    path.with_name("db-wal").write_bytes(data)

    with contextlib.suppress(NotSqlite):
        rows_of(path)
