"""``vedette``: the umbrella command; it imports neither daemon."""

import argparse
import sys
from collections.abc import Sequence

from runtime.errors import VedetteError
from vedette import verify
from vedette.demo import command as demo


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="vedette",
        description="Findings as signed evidence, from host to SIEM.",
        epilog="example: vedette demo",
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo.add(subparsers)
    verify.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except VedetteError as error:
        sys.stderr.write(f"vedette: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
