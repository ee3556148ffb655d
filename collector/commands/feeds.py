"""``feeds run``: read the feeds now."""

import argparse
import sys

import msgspec

from collector.commands.common import add_json, print_rows, say, settings_of
from collector.feeds.job import run_once
from collector.feeds.report import Outcome
from runtime.clock import SystemClock

COLUMNS = ("name", "files", "rows", "accepted", "expired", "dropped", "bad", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("run",), help="read, compile and publish")
    parser.add_argument(
        "--force", action="store_true", help="publish although less than half is left"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Publish what the feeds hold now and say what became of each; exit 3 when one has an error.

    Raises:
        VedetteError: there is no repository, a key is missing, or a list cannot be read.
    """
    report = run_once(settings_of(args).publishing, SystemClock(), force=args.force)
    if args.json:
        sys.stdout.write(msgspec.json.encode(report, enc_hook=str).decode() + "\n")
    else:
        rows = (msgspec.to_builtins(feed, enc_hook=str) for feed in report.feeds)
        print_rows(rows, COLUMNS, as_json=False)
        for feed in report.feeds:
            for row in feed.bad_rows:
                say(f"  {feed.name}: {row.file}, line {row.line}: {row.reason}")
        say(f"{report.outcome.value}: version {report.version}, {report.indicators} indicators")
    if report.outcome is Outcome.REFUSED:
        say(f"{report.reason}; what was published before stays")
        return 1
    return 3 if any(feed.error for feed in report.feeds) else 0
