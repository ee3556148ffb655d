"""``incidents``: list them."""

import argparse

from collector.commands.common import add_json, add_tenant, print_rows, projection, settings_of
from collector.index import queries

COLUMNS = ("severity", "status", "title", "count", "revision", "uid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_tenant(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print incidents, the latest first.

    Raises:
        VedetteError: no such tenant, nothing indexed yet, or the collector is not running.
    """
    with projection(args, settings_of(args), "index") as db:
        print_rows(queries.incidents(db), COLUMNS, as_json=args.json)
    return 0
