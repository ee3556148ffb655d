"""A host made of a few files, and what a table shows of it."""

from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.tables.table import Looking, Row, Table, TableSettings
from tests.fakes.clock import FakeClock


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a root; a text that begins with ``->`` makes a link."""
    for path, data in files.items():
        made = root / path.lstrip("/")
        made.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, str) and data.startswith("->"):
            made.symlink_to(data[2:])
        else:
            made.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def looking_at(root: Path, settings: TableSettings | None = None) -> Looking:
    return Looking(HostRoot(root), FakeClock(), settings)


def shown(table: Table, looking: Looking) -> list[Row]:
    """Every row, each of which has no other columns than the table's."""
    found = list(table.rows(looking))
    for row in found:
        assert set(row) <= set(table.columns)
    return found
