"""``match``: values against indicators, or recorded events against rules, without any daemon."""

import argparse
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.commands.common import add_json, print_rows, say
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from proto.rows import plain

FORMATS = ("observation", "ecs", "sysmon", "auditd", "raw")
COLUMNS = ("rule_id", "event", "fields")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("--index", type=Path, metavar="FILE", help="a .vdx file, to look VALUE up")
    parser.add_argument(
        "--rules",
        type=Path,
        metavar="PLACE",
        help="a .vdr file, or Sigma rules where the collector is installed, to judge --events by",
    )
    parser.add_argument(
        "--intel", type=Path, metavar="FILE", help="a .vdx file, to look values of --events up"
    )
    parser.add_argument(
        "--events", type=Path, metavar="FILE", help="recorded events, one a line; - for input"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="whose events (default: %(default)s)"
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="say what each of --rules is worth where sensors see all they can, and judge nothing",
    )
    parser.add_argument("kind", nargs="?", choices=[kind.value for kind in IndicatorKind])
    parser.add_argument("values", nargs="*", metavar="VALUE", help="what to look up")
    parser.set_defaults(usage_error=parser.error)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print one match a line; exit 3 when there is one.

    Raises:
        ContentError: a file is not an index, or no rules, or the kind is not one.
        NoRules: there are none, or nothing here can compile them.
        OSError: a file cannot be read.
    """
    if args.coverage:
        return _coverage(args)
    if args.events is not None:
        return _replay(args)
    if args.index is None or args.kind is None or not args.values:
        args.usage_error("give --index, a kind and values; or --events with --rules or --intel")
    index = open_index(args.index)
    count = print_rows(
        _matches(index, IndicatorKind(args.kind), args.values), COLUMNS, as_json=args.json
    )
    return 3 if count else 0


def _coverage(args: argparse.Namespace) -> int:
    """Print one rule a line: active, degraded or dead, and for want of which fields."""
    if args.rules is None or args.events is not None:
        args.usage_error("--coverage takes --rules, and no events")
    from agent.commands.rulesource import rules_at  # noqa: PLC0415  (as below)
    from agent.sense.match.sigmafields import COLLECTED  # noqa: PLC0415
    from agent.sense.match.sigmanormal import standing  # noqa: PLC0415

    rules = rules_at(args.rules)
    worth = ((rule, standing(rule, rules, COLLECTED)) for rule in rules.rules)
    rows = (
        {
            "rule_id": rule.id,
            "state": found.state,
            "alerts": found.alerts,
            "missing": found.missing,
            "title": rule.title,
        }
        for rule, found in worth
    )
    print_rows(rows, ("rule_id", "state", "alerts", "missing", "title"), as_json=args.json)
    return 0


def _replay(args: argparse.Namespace) -> int:
    if args.kind is not None or args.index is not None:
        args.usage_error("--events takes --rules and --intel, and no values")
    if args.rules is None and args.intel is None:
        args.usage_error("--events needs --rules or --intel")
    # What judges events is much to load for a look at one value.
    from agent.commands.replay import Judged, opened, replay  # noqa: PLC0415
    from agent.commands.rulesource import rules_at  # noqa: PLC0415

    rules = rules_at(args.rules) if args.rules is not None else None
    index = open_index(args.intel) if args.intel is not None else None
    told = Judged()
    with opened(args.events) as events:
        rows = replay(events, args.format, rules, index, told)
        count = print_rows(rows, COLUMNS, as_json=args.json)
    if told.bad:
        say(f"{told.bad} of {told.lines} lines are no events of format {args.format}")
    return 3 if count else 0


def open_index(path: Path) -> MappedIndex:
    """Return the index in a file.

    Raises:
        ContentError: the file is not an index.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        # There is nothing to map in an empty file.
        if not os.fstat(file.fileno()).st_size:
            return MappedIndex(b"")
        return MappedIndex(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _matches(
    index: MappedIndex, kind: IndicatorKind, values: list[str]
) -> Iterator[Mapping[str, object]]:
    for value in values:
        for found in index.matches(kind, value):
            yield {
                "rule_id": f"indicator.{found.kind.value}",
                "event": value,
                "fields": plain(found),
            }
