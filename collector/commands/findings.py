"""``findings``: list them."""

import argparse

from collector.commands.common import (
    add_json,
    add_tenant,
    count,
    print_rows,
    projection,
    settings_of,
)
from collector.index import queries
from collector.index.queries import FindingFilter
from proto.model import FindingKind, Severity

LIMIT_MAX = 100_000
COLUMNS = ("severity", "host", "kind", "title", "rule", "source", "uid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_tenant(parser)
    add_json(parser)
    parser.add_argument("--kind", choices=[kind.value for kind in FindingKind][1:])
    parser.add_argument("--rule", metavar="ID", help="only findings of this rule")
    parser.add_argument(
        "--severity",
        choices=[severity.value for severity in Severity][1:],
        help="only findings at least this severe",
    )
    parser.add_argument(
        "--limit", type=count(1, LIMIT_MAX), default=1_000, help="at most so many (default 1000)"
    )


def run(args: argparse.Namespace) -> int:
    """Print findings, the newest first.

    Raises:
        VedetteError: no such tenant, nothing indexed yet, or the collector is not running.
    """
    wanted = FindingFilter(
        kind=args.kind,
        rule=args.rule,
        severity_min=Severity(args.severity or "unspecified"),
        limit=args.limit,
    )
    with projection(args, settings_of(args), "index") as db:
        print_rows(queries.findings(db, wanted), COLUMNS, as_json=args.json)
    return 0
