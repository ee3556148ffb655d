"""Removing old rows from an index: it is a view, and the ledger keeps what it was made of."""

import sqlite3
from contextlib import closing
from pathlib import Path

ROWS_PER_STEP = 1_000
_TABLES = (("findings", "received"), ("events", "at"))


def prune(path: Path, before: int) -> int:
    """Delete findings and events older than a time, a little at a time; return how many.

    Short transactions let the worker write in between.

    Args:
        path: the index; one that does not exist yet has nothing to delete.
        before: nanoseconds UTC.

    Raises:
        sqlite3.Error: it cannot be written now.
    """
    if not path.exists():
        return 0
    removed = 0
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as db:
        for table, column in _TABLES:
            # Names are constants of this module; the bounds are parameters.
            statement = (
                f"DELETE FROM {table} WHERE id IN"  # noqa: S608
                f" (SELECT id FROM {table} WHERE {column} < ? LIMIT ?)"
            )
            while count := db.execute(statement, (before, ROWS_PER_STEP)).rowcount:
                removed += count
    return removed
