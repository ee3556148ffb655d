"""``vedette demo``: see the whole product work, on this host and on loopback only."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from vedette.demo.play import Outcome, Play
from vedette.demo.stage import DemoFailed, Stage

_EXAMPLE = """\
example:
  vedette demo
  vedette demo --json --keep ./demo

exit codes: 0 everything expected happened, 1 something did not
"""
# What only this program's own tests read.
_INTERNAL = frozenset({"split", "sensors", "incident_titles", "missing"})


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; ``args.run(args)`` then returns the exit code."""
    parser = subparsers.add_parser(
        "demo",
        help="run a collector and an agent on this host and watch them work",
        description="Run a collector and an agent on this host and watch them work.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep everything in DIR, which must not exist"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play the demo and print what came of it.

    Raises:
        DemoFailed: a step did not happen; the message says which.
    """
    began = time.monotonic()
    root = _directory(args.keep)
    stage = Stage(root)

    def tell(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began:5.1f} s] {text}\n")

    try:
        outcome = Play(stage, tell).run()
    finally:
        if args.keep is None:
            stage.remove()
    outcome.seconds = round(time.monotonic() - began, 1)
    if args.json:
        shown = {k: v for k, v in msgspec.to_builtins(outcome).items() if k not in _INTERNAL}
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        _summary(outcome, args.keep, sys.stdout.write)
    is_good = outcome.proof_verified and not outcome.lost and not outcome.duplicated
    return 0 if is_good else 1


def _directory(keep: Path | None) -> Path:
    if keep is None:
        root = Path(tempfile.mkdtemp(prefix="vedette-demo-"))
    else:
        if keep.exists():
            raise DemoFailed(f"{keep} exists already", hint="name a directory that does not")
        keep.mkdir(parents=True)
        root = keep.resolve()
    # The halves of the agent are other users when root runs the demo.
    root.chmod(0o755)
    return root


def _summary(outcome: Outcome, keep: Path | None, write: Callable[[str], object]) -> None:
    write("\n")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.by_kind.items()))
    write(f"  findings     {outcome.findings}  ({kinds})\n")
    titles = "; ".join(outcome.incident_titles)
    write(f"  incidents    {outcome.incidents}  {titles}\n")
    for name, score in sorted(outcome.frameworks.items()):
        write(
            f"  readiness    {name} {score['edition']}: evidenced {score['evidenced']} of "
            f"{score['items']}, assured {score['score_percent']} %, "
            f"coverage {score['coverage_percent']} %\n"
        )
    write(f"  batches      {outcome.batches} sealed, {outcome.receipts} receipted as durable\n")
    write(f"  forwarded    {outcome.forwarded} events reached the HEC receiver\n")
    verdict = "verified offline" if outcome.proof_verified else "NOT VERIFIED"
    write(f"  one finding  {verdict}\n")
    write(f"  lost         {outcome.lost}\n  duplicated   {outcome.duplicated}\n")
    sensors = ", ".join(f"{name} {state}" for name, state in sorted(outcome.sensors.items()))
    write(f"  sensors      {sensors}\n  split        {outcome.split}\n")
    write(f"  time         {outcome.seconds} s\n")
    if keep is not None:
        write(
            f"\n  kept in {keep}; try: vedette verify {keep}/proof.tlog-proof "
            f"--trust {keep}/trust.json\n"
        )
