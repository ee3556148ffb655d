"""``tenants``: list them."""

import argparse

from collector.commands.common import add_json, print_rows, settings_of, tenants_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the tenants.

    Raises:
        IssuerUnavailable: the collector is not running.
    """
    rows = ({"name": t.name, "id": str(t.tenant)} for t in tenants_of(settings_of(args)))
    print_rows(rows, ("name", "id"), as_json=args.json)
    return 0
