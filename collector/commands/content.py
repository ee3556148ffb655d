"""``content``: what is published to hosts, and the signatures under it."""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Final

import msgspec

from collector.commands.common import add_json, say, settings_of
from collector.content.sigmachild import compile_apart
from collector.feeds.compile import Compiled, compile_content
from collector.feeds.metadata import NS_PER_S
from collector.feeds.publish import Publisher
from collector.feeds.settings import FeedsSettings
from collector.feeds.sources import read_feeds, read_warninglists
from runtime.clock import SystemClock
from runtime.files import write_atomic

# Where `collector.setup` puts these keys below the directory that init was given.
_FOLDER: Final = "content"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="say what is published and how long it is good for")
    add_json(show)
    sign = actions.add_parser("sign", help="sign root and targets for another term")
    sign.add_argument(
        "--offline-keys",
        type=Path,
        required=True,
        metavar="DIR",
        help="the directory that init wrote the offline keys to",
    )
    make = actions.add_parser(
        "compile", help="compile the feeds, or rules, to a file and publish nothing"
    )
    make.add_argument("--out", type=Path, required=True, metavar="FILE", help="where it goes")
    make.add_argument(
        "--sigma", type=Path, metavar="DIR", help="compile these Sigma rules, and no feeds"
    )
    make.add_argument(
        "--placeholders",
        type=Path,
        metavar="FILE",
        help="values for the expand modifier, as JSON: name and list",
    )
    add_json(make)


def run(args: argparse.Namespace) -> int:
    """Do one action.

    Raises:
        VedetteError: there is no repository, a key is missing, or a feed cannot be read.
    """
    if args.action == "compile" and args.sigma is not None:
        return _rules(args)
    settings = settings_of(args).publishing
    if args.action == "sign":
        return _sign(settings, args.offline_keys)
    return _compile(settings, args) if args.action == "compile" else _show(settings, args)


def _show(settings: FeedsSettings, args: argparse.Namespace) -> int:
    publisher = Publisher(settings, SystemClock())
    release, days = publisher.current(), publisher.offline_days_left()
    row = {
        "version": release.version if release else 0,
        "indicators": release.indicators if release else 0,
        "size_bytes": release.size if release else 0,
        "offline_days_left": days,
    }
    if args.json:
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
    else:
        sys.stdout.writelines(f"{name.replace('_', ' ')}: {value}\n" for name, value in row.items())
    return 0 if days > 0 else 3


def _sign(settings: FeedsSettings, offline: Path) -> int:
    publisher = Publisher(settings, SystemClock())
    signed = publisher.renew(offline / _FOLDER)
    say(f"signed {', '.join(signed)}; again in {publisher.offline_days_left()} days")
    say(f"  take {offline} off this machine now")
    return 0


def _compile(settings: FeedsSettings, args: argparse.Namespace) -> int:
    now = SystemClock().wall_ns()
    made: Compiled = compile_content(
        read_feeds(settings), read_warninglists(settings), now // NS_PER_S, now
    )
    write_atomic(args.out, made.data, mode=0o644)
    if args.json:
        sys.stdout.write(msgspec.json.encode(made.feeds).decode() + "\n")
    for feed in made.feeds:
        say(f"{feed.name}: {feed.error or f'{feed.accepted} of {feed.rows} rows'}")
        for row in feed.bad_rows:
            say(f"  {row.file}:{row.line}: {row.reason}")
    return 1 if any(feed.error for feed in made.feeds) else 0


def _rules(args: argparse.Namespace) -> int:
    """Write what hosts judge by; 3 where some rules are left out, each of them named."""
    made = compile_apart(args.sigma, args.placeholders)
    write_atomic(args.out, made.data, mode=0o644)
    refused = [remark for remark in made.remarks if remark.state == "refused"]
    if args.json:
        row = {
            "rules": made.rules,
            "predicates": made.predicates,
            "filters": made.filters,
            "size_bytes": len(made.data),
            "sha256": hashlib.sha256(made.data).hexdigest(),
            "refused": len(refused),
            "remarks": made.remarks,
        }
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
    else:
        text = f"{made.rules} rules, {made.predicates} predicates, {made.filters} filters"
        sys.stdout.write(f"{text}, {len(made.data)} bytes; {len(refused)} refused\n")
    for remark in made.remarks:
        say(f"{remark.file}: {remark.rule}: {remark.state}: {remark.reason}")
    return 3 if refused else 0
