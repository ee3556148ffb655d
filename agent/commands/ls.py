"""``ls``: a table of what is on this host now."""

import argparse

from agent.commands.common import add_json, print_rows, settings_of
from agent.hostroot import HostRoot
from agent.sense.listing import TABLES, rows
from runtime.clock import SystemClock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("table", choices=tuple(TABLES), help="what to list")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        HostFileError: the host cannot be read.
    """
    host = HostRoot(settings_of(args).paths.host_root)
    columns = tuple(TABLES[args.table].columns)
    print_rows(rows(args.table, host, SystemClock()), columns, as_json=args.json)
    return 0
