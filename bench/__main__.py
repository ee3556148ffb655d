"""``python -m bench NAME``: one benchmark; ``python -m bench all``: each in a process of its own.

Results go to standard output. Exit codes: 0 ok, 1 a benchmark failed, 2 usage.
"""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from typing import cast

from bench import report
from runtime.errors import VedetteError

# Name: the module that measures, and what it measures.
BENCHMARKS: dict[str, tuple[str, str]] = {
    "ingest": ("bench.ingest", "sealed batches over mutual TLS into the collector's ledger"),
    "seal": ("bench.seal", "findings encoded, sealed and committed by the agent"),
    "indicators": ("bench.indicators", "lookups in the mapped indicator index"),
    "sigma": ("bench.sigma", "events judged by Sigma rules"),
    "forward": ("bench.forward", "admitted findings to an HTTP Event Collector"),
    "footprint": ("bench.footprint", "memory, processor time and wakeups of an idle agent"),
    "recovery": ("bench.recovery", "time until receipts flow again after kill -9"),
    "sockets": ("bench.sockets", "one look at the socket tables, and who holds the sockets"),
    "sensors": ("bench.sensors", "every process that a busy host starts, seen and hashed"),
    "files": ("bench.files", "sweeps, watches and bursts of files"),
    "posture": ("bench.posture", "one pass of every check over this host"),
    "inventory": ("bench.inventory", "a listing of the packages of this host"),
}
RUN_TIMEOUT_S = 900


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    names = "".join(f"  {name:<12} {text}\n" for name, (_, text) in BENCHMARKS.items())
    top = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Vedette on this machine.",
        epilog=f"benchmarks:\n{names}\nexample:\n  python -m bench seal --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("name", choices=[*BENCHMARKS, "all"], metavar="NAME", help="or all")
    top.add_argument("--json", action="store_true", help="print one JSON object a benchmark")
    top.add_argument(
        "--scale", type=_positive, metavar="N", help="amount of work, in the benchmark's own unit"
    )
    return top


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a scale is at least 1")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for and return the exit code."""
    args = parser().parse_args(argv)
    if args.name == "all":
        return _all(args)
    module, _ = BENCHMARKS[args.name]
    # Imported on use: a benchmark of memory shall not carry the others' libraries.
    bench = cast("report.Benchmark", importlib.import_module(module))
    try:
        figures = bench.measure(args.scale or bench.SCALE)
    except VedetteError as error:
        sys.stderr.write(f"bench {args.name}: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return 1
    if args.json:
        print(report.as_json(args.name, figures))
    else:
        print(report.as_text(args.name, bench.CLOCK, figures))
    return 0


def _all(args: argparse.Namespace) -> int:
    """Run each in a fresh process, so that none measures what another left behind."""
    if args.scale is not None:
        parser().error("each benchmark has a scale of its own: name one")
    codes = []
    for name in BENCHMARKS:
        words = [sys.executable, "-m", "bench", name, *(["--json"] if args.json else [])]
        try:
            codes.append(subprocess.run(words, check=False, timeout=RUN_TIMEOUT_S).returncode)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"bench {name}: not done after {RUN_TIMEOUT_S} s\n")
            codes.append(1)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
