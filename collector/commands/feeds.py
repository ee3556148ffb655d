"""``feeds run``: read the feeds now."""

import argparse
import sys

import msgspec

from collector.commands.common import add_json, say, settings_of
from collector.feeds.job import run_once
from runtime.clock import SystemClock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("run",), help="read, compile and publish")
    parser.add_argument(
        "--force", action="store_true", help="publish although less than half is left"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Publish what the feeds hold now and say what became of each.

    Raises:
        VedetteError: there is no repository, a key is missing, or a list cannot be read.
    """
    report = run_once(settings_of(args).publishing, SystemClock(), force=args.force)
    if args.json:
        sys.stdout.write(msgspec.json.encode(report, enc_hook=str).decode() + "\n")
        return 0
    say(f"{report.outcome.value}: version {report.version}, {report.indicators} indicators")
    for feed in report.feeds:
        say(f"  {feed.name}: {msgspec.to_builtins(feed, enc_hook=str)}")
    return 0
