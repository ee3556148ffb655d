import sqlite3
from itertools import pairwise

import pytest

from collector.ledger import schema


@pytest.mark.parametrize("statements", [schema.LEDGER, schema.LOG])
def test_the_schema_is_sound_sql_and_its_tables_have_integer_or_natural_keys(
    statements: str,
) -> None:
    db = sqlite3.connect(":memory:")

    db.executescript(statements)

    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("table", ["batches", "held"])
def test_the_body_is_the_last_column_behind_everything_read_without_it(table: str) -> None:
    db = sqlite3.connect(":memory:")
    db.executescript(schema.LEDGER)

    columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]

    assert columns[-2:] == ["header", "body"]


def test_the_versions_only_count_up() -> None:
    assert all(a <= b for a, b in pairwise([1, schema.LEDGER_VERSION]))
    assert schema.LOG_VERSION >= 1
