"""What commands share: settings, rows and tables."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent import DEFAULT_PATH
from agent.config import AgentSettings, read_settings
from proto.rows import lines

if TYPE_CHECKING:
    import argparse


def settings_of(args: "argparse.Namespace") -> AgentSettings:
    """Return the effective settings of a command.

    Raises:
        BadSettings: a key or value is not allowed (exit 4).
    """
    named: Path | None = args.config
    return read_settings(named or Path(DEFAULT_PATH), dict(os.environ), missing_ok=named is None)


def add_json(parser: "argparse.ArgumentParser") -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def print_rows(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, as_json: bool
) -> int:
    """Print rows as JSON Lines, or as a table of some columns; return how many there were."""
    count = 0
    for line in lines(rows, columns, as_json=as_json):
        sys.stdout.write(line + "\n")
        count += 1
    return count if as_json else count - 1


def say(text: str) -> None:
    """Tell the person at the terminal something that is not a result.

    Args:
        text: may quote host text, no character of which can end the line or move the cursor.
    """
    sys.stderr.write(one_line(text) + "\n")


def one_line(text: str) -> str:
    """Return text that a terminal shows as one line, and does nothing else with."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
