"""``dlq``: events that a destination refused for good."""

import argparse
import sys

import msgspec

from collector.commands.common import (
    add_json,
    add_tenant,
    print_rows,
    say,
    settings_of,
    tenant_of,
)
from collector.forward import dlq
from collector.forward.trial import named
from collector.ledger.files import TenantFiles

COLUMNS = ("id", "kind", "at", "attempts", "reason", "event_id")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("ls", "show", "redrive", "export"))
    parser.add_argument("destination", help="the destination's name")
    parser.add_argument("ids", nargs="*", type=int, help="show, redrive: which letters")
    add_tenant(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List, show, send again or export dead letters.

    Raises:
        VedetteError: no such tenant, destination or letter, or the collector is not running.
    """
    settings = settings_of(args)
    path = TenantFiles(settings.paths.root).projection(tenant_of(args, settings), "forward")
    name = named(settings.forward, args.destination).name
    if args.action == "ls":
        rows = (msgspec.to_builtins(letter) for letter in dlq.ls(path, name))
        print_rows(rows, COLUMNS, as_json=args.json)
    elif args.action == "show":
        for number in args.ids:
            letter = dlq.show(path, name, number)
            sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
    elif args.action == "export":
        for line in dlq.export(path, name):
            sys.stdout.buffer.write(line)
    else:
        say(f"{dlq.redrive(path, name, args.ids or None)} letters are sent again")
    return 0
