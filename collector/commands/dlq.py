"""``dlq``: events that a destination refused for good."""

import argparse
import sys
from pathlib import Path

import msgspec

from collector.commands.common import (
    BadUsage,
    NothingYet,
    add_json,
    add_tenant,
    print_rows,
    say,
    settings_of,
    tenant_of,
)
from collector.forward import dlq
from collector.forward.store import ForwardReader
from collector.forward.trial import named
from collector.ledger.files import TenantFiles
from collector.settings import CollectorSettings

COLUMNS = ("destination", "id", "kind", "at", "attempts", "reason", "event_id")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "action",
        choices=("ls", "show", "redrive", "export"),
        help="list; print with their events; send again; print all with their events",
    )
    parser.add_argument("destination", nargs="?", help="the destination's name; ls: or of all")
    parser.add_argument("ids", nargs="*", type=int, help="show, redrive: which letters")
    add_tenant(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List, show, send again or export dead letters.

    Raises:
        BadUsage: no destination or no letter was named.
        NothingYet: nothing has been forwarded.
        VedetteError: no such tenant, destination or letter, or the collector is not running.
    """
    settings = settings_of(args)
    path = TenantFiles(settings.paths.root).projection(tenant_of(args, settings), "forward")
    if not path.exists():
        raise NothingYet("nothing has been forwarded yet", hint="vedette-collector sinks ls")
    if args.action == "ls" and args.destination is None:
        _list(path, _names(path), as_json=args.json)
        return 0
    name = _destination(args, settings, path)
    if args.action == "ls":
        _list(path, [name], as_json=args.json)
    elif args.action == "export":
        for line in dlq.export(path, name):
            sys.stdout.write(line.decode())
    elif args.action == "redrive":
        say(f"{dlq.redrive(path, name, args.ids or None)} letters are sent again")
    else:
        _show(path, name, args.ids)
    return 0


def _list(path: Path, names: list[str], *, as_json: bool) -> None:
    letters = (msgspec.to_builtins(letter) for name in names for letter in dlq.ls(path, name))
    print_rows(letters, COLUMNS, as_json=as_json)


def _show(path: Path, name: str, ids: list[int]) -> None:
    if not ids:
        raise BadUsage("name the letters to show", hint="vedette-collector dlq ls shows their ids")
    for letter in [dlq.show(path, name, number) for number in ids]:
        sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")


def _destination(args: argparse.Namespace, settings: CollectorSettings, path: Path) -> str:
    """Return the name meant: a destination taken out of the settings may still have letters."""
    if args.destination is None:
        raise BadUsage("name a destination", hint="vedette-collector sinks ls shows them")
    if args.action != "redrive" and args.destination in _names(path):
        return str(args.destination)
    return named(settings.forward, args.destination).name


def _names(path: Path) -> list[str]:
    with ForwardReader(path) as reader:
        return [status.name for status in reader.statuses()]
