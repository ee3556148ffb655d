"""``report``: readiness per framework, with its evidence and its reach."""

import argparse
import sys

from collector.commands.common import add_json, add_tenant, print_rows, projection, settings_of
from collector.comply import queries
from collector.comply.report import headline_rows, item_rows, text
from runtime.clock import SystemClock

ITEM_COLUMNS = ("reference", "state", "title", "checks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_tenant(parser)
    add_json(parser)
    parser.add_argument(
        "--framework", metavar="NAME", help="every requirement of one framework, such as nist80053"
    )


def run(args: argparse.Namespace) -> int:
    """Print readiness: what is evidenced, how assured, how covered.

    Raises:
        VedetteError: no such tenant, nothing scored yet, or the collector is not running.
    """
    with projection(args, settings_of(args), "comply") as db:
        readings = queries.readings(db, SystemClock().wall_ns())
        if args.framework is not None:
            for reading in readings:
                if reading.framework == args.framework:
                    print_rows(item_rows(reading), ITEM_COLUMNS, as_json=args.json)
                    return 0
            names = ", ".join(reading.framework for reading in readings)
            sys.stderr.write(f"no framework {args.framework!r}; there are: {names}\n")
            return 2
        if args.json:
            print_rows(headline_rows(readings), (), as_json=True)
        else:
            sys.stdout.write(text(readings))
    return 0
