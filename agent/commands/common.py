"""What commands share: settings, rows and tables."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agent.config import AgentSettings, read_settings
from agent.settings import DEFAULT_PATH

CELL_CHARS_MAX = 60


def settings_of(args: argparse.Namespace) -> AgentSettings:
    """Return the effective settings of a command.

    Raises:
        BadSettings: a key or value is not allowed (exit 4).
    """
    named: Path | None = args.config
    return read_settings(named or Path(DEFAULT_PATH), dict(os.environ), missing_ok=named is None)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def print_rows(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, as_json: bool
) -> int:
    """Print rows as JSON Lines, or as a table of some columns; return how many there were."""
    if as_json:
        count = 0
        for row in rows:
            sys.stdout.write(json.dumps(row, default=str) + "\n")
            sys.stdout.flush()
            count += 1
        return count
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [
        max([len(column), *(len(row[at]) for row in cells)]) for at, column in enumerate(columns)
    ]
    for row in ([column.upper() for column in columns], *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
    return len(cells)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    printable = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    if len(printable) <= CELL_CHARS_MAX:
        return printable
    return printable[: CELL_CHARS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"


def say(text: str) -> None:
    """Tell the person at the terminal something that is not a result."""
    sys.stderr.write(text + "\n")
