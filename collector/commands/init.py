"""``init``: set a collector up."""

import argparse
import os
from pathlib import Path

from collector.commands.common import say, settings_of
from collector.setup import initialise
from runtime.clock import SystemClock

NAME_CHARS_MAX = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "--tenant", required=True, type=_name, metavar="NAME", help="the first tenant"
    )
    parser.add_argument(
        "--offline-keys",
        required=True,
        type=Path,
        metavar="DIR",
        help="where the root key and the offline content keys go; take it off this machine",
    )


def run(args: argparse.Namespace) -> int:
    """Make everything a collector needs before it serves.

    Raises:
        SetUpAlready: there is a collector already.
        BadSettings: the configuration is not allowed (exit 4).
        VedetteError: a part could not be made.
    """
    settings = settings_of(args)
    made = initialise(settings, args.tenant, args.offline_keys, SystemClock(), os.urandom)
    say(f"tenant {args.tenant} is {made.tenant}")
    say(f"the root key is {made.root_key}, and nowhere else")
    say(f"  take {args.offline_keys} off this machine now; you need it to add tenants")
    say("start the collector with: vedette-collector run")
    return 0


def _name(text: str) -> str:
    if not 0 < len(text) <= NAME_CHARS_MAX or not text.isprintable() or text != text.strip():
        raise argparse.ArgumentTypeError(
            f"a tenant's name has 1 to {NAME_CHARS_MAX} printable characters"
        )
    return text
