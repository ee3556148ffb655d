"""``posture``: judge this host's configuration once."""

import argparse

from agent.commands.common import add_json, print_rows, settings_of
from agent.hostroot import HostRoot
from agent.sense.posture.rows import rows
from runtime.clock import SystemClock

COLUMNS = ("state", "severity", "check", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print one check a line; exit 3 when one fails.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
    """
    host = HostRoot(settings_of(args).paths.host_root)
    found = list(rows(host, SystemClock()))
    print_rows(found, COLUMNS, as_json=args.json)
    return 3 if any(row["state"] == "fail" for row in found) else 0
