"""``match``: values against an indicator index, without any daemon."""

import argparse
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.commands.common import add_json, print_rows
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from proto.rows import plain

COLUMNS = ("rule_id", "event", "fields")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("--index", type=Path, required=True, metavar="FILE", help="a .vdx file")
    parser.add_argument("kind", choices=[kind.value for kind in IndicatorKind])
    parser.add_argument("values", nargs="+", metavar="VALUE", help="what to look up")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print one match a line; exit 3 when there is one.

    Raises:
        ContentError: the file is not an index, or the kind is not one.
        OSError: the file cannot be read.
    """
    index = open_index(args.index)
    count = print_rows(
        _matches(index, IndicatorKind(args.kind), args.values), COLUMNS, as_json=args.json
    )
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
