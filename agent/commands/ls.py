"""``ls``: a table of what is on this host now."""

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence

from agent.commands.common import add_json, print_rows, say, settings_of
from agent.hostroot import HostRoot
from agent.sense.listing import TABLES, rows
from agent.sense.redact import Redactor
from agent.sense.tables.table import Looking, Row, Sources
from runtime.clock import SystemClock

WIDTH_MAX = 100
_GAP = 2
# Of a key for one listing: placeholders of two cannot be compared, nor guessed at.
_KEY_BYTES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and every table."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("table", choices=tuple(TABLES), metavar="TABLE", help="what to list")
    parser.add_argument("--columns", action="store_true", help="explain the columns instead")
    add_json(parser)
    width = max(map(len, TABLES))
    tables = "\n".join(f"  {name:<{width}}  {table.text}" for name, table in TABLES.items())
    note = textwrap.fill(
        "What could not be read is told on standard error; exit code 1 if nothing could be.", 80
    )
    parser.epilog = f"{parser.epilog or ''}\n\ntables:\n{tables}\n\n{note}".strip()


def run(args: argparse.Namespace) -> int:
    """Print the table, and what of it could not be read.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        HostFileError: the host cannot be read.
    """
    table = TABLES[args.table]
    if args.columns:
        explained: list[Row] = [
            {"column": name, "meaning": text} for name, text in table.columns.items()
        ]
        return _print(explained, ("column", "meaning"), as_json=args.json)
    settings = settings_of(args)
    sensors = settings.sense.sensors
    sources = Sources(sensors.packages, sensors.files, sensors.persistence)
    with HostRoot(settings.paths.host_root) as host:
        looking = Looking(host, SystemClock(), settings.sense.tables, sources)
        hidden = Redactor(os.urandom(_KEY_BYTES), settings.sense.redaction)
        found = (without_secrets(row, hidden) for row in rows(args.table, looking))
        if args.json:
            count = print_rows(found, (), as_json=True)
        else:
            listed = list(found)
            count = len(listed)
            _print(listed, table.shown or tuple(table.columns), as_json=False)
    sys.stdout.flush()
    for problem in looking.problems:
        say(f"vedette-agent ls: {problem}")
    return 1 if looking.problems and not count else 0


def without_secrets(row: Row, redactor: Redactor) -> Row:
    """Return a row as it may be shown, kept and sent on: arguments hold passwords."""
    return {name: _without(value, redactor) for name, value in row.items()}


def _without(value: object, redactor: Redactor) -> object:
    if isinstance(value, str):
        return redactor.command(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(redactor.argv(tuple(value)))
    return value


def _print(listed: Sequence[Row], columns: Sequence[str], *, as_json: bool) -> int:
    print_rows(listed if as_json else fitted(listed, columns), columns, as_json=as_json)
    return 0


def fitted(
    listed: Sequence[Mapping[str, object]], columns: Sequence[str], width_max: int = WIDTH_MAX
) -> list[Row]:
    """Return rows whose cells stand side by side in so many characters; the widest give way."""
    cells = [{name: _cell(row.get(name)) for name in columns} for row in listed]
    widths = {name: max([len(name), *(len(row[name]) for row in cells)]) for name in columns}
    room = width_max - _GAP * (len(columns) - 1)
    while sum(widths.values()) > room:
        widest = max(widths, key=lambda name: widths[name] - len(name))
        if widths[widest] <= len(widest):
            break  # the headings alone are wider
        widths[widest] -= 1
    return [{name: _cut(text, widths[name]) for name, text in row.items()} for row in cells]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    return text[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"
