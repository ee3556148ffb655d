"""``config check`` and ``config show``."""

import argparse
import sys

from collector.commands.common import say, settings_of
from runtime.settings import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("check", "show"), help="judge it, or print it as TOML")


def run(args: argparse.Namespace) -> int:
    """Read the configuration; a bad key ends with exit 4 and names file, key and rule.

    Raises:
        BadSettings: a key or value is not allowed.
    """
    settings = settings_of(args)
    if args.action == "show":
        sys.stdout.write(show(settings))
    else:
        say("the configuration is good")
    return 0
