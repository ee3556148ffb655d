"""``vedette-collector``: the command line of the central service.

Results go to standard output, everything else to standard error. Exit codes: 0 ok, 1 failure,
2 usage, 3 unhealthy, 4 bad configuration, 5 peer unreachable, 6 identity refused, 7 locked.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from collector import __version__
from collector.settings import DEFAULT_PATH
from runtime.errors import VedetteError

# Command: the module that runs it, what it does, and an example. Modules are imported on use.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": (
        "collector.commands.init",
        "make authorities, keys and the first tenant",
        "vedette-collector init --tenant acme --offline-keys /media/usb",
    ),
    "run": (
        "collector.commands.run",
        "start and supervise all processes, or run one",
        "vedette-collector run",
    ),
    "token": (
        "collector.commands.token",
        "mint a join token",
        "vedette-collector token --tenant acme > token",
    ),
    "agents": (
        "collector.commands.agents",
        "list or revoke agents",
        "vedette-collector agents ls --tenant acme",
    ),
    "tenants": ("collector.commands.tenants", "list tenants", "vedette-collector tenants"),
    "findings": (
        "collector.commands.findings",
        "list findings",
        "vedette-collector findings --severity medium --json",
    ),
    "incidents": (
        "collector.commands.incidents",
        "list incidents",
        "vedette-collector incidents --json",
    ),
    "report": (
        "collector.commands.report",
        "show readiness per framework",
        "vedette-collector report --framework nist80053",
    ),
    "feeds": (
        "collector.commands.feeds",
        "read the feeds now and publish what changed",
        "vedette-collector feeds run",
    ),
    "content": (
        "collector.commands.content",
        "show, sign or compile what hosts are given",
        "vedette-collector content sign --offline-keys /media/usb",
    ),
    "index": (
        "collector.commands.index",
        "rebuild a projection from the ledger",
        "vedette-collector index rebuild",
    ),
    "ledger": (
        "collector.commands.ledger",
        "list batches, or prove one record",
        "vedette-collector ledger proof UID --output finding.tlog-proof",
    ),
    "sinks": (
        "collector.commands.sinks",
        "list or test SIEM destinations",
        "vedette-collector sinks test splunk",
    ),
    "dlq": (
        "collector.commands.dlq",
        "list, show, redrive or export dead letters",
        "vedette-collector dlq ls --json",
    ),
    "config": (
        "collector.commands.config",
        "check or show the configuration",
        "vedette-collector config check",
    ),
}


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser, with the options of one command filled in."""
    top = argparse.ArgumentParser(
        prog="vedette-collector",
        description="The zero-trust collector: verifies, stores, correlates, scores, forwards.",
        epilog="example: vedette-collector findings --json",
    )
    top.add_argument("--version", action="version", version=f"vedette-collector {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text, example) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text, epilog=f"example: {example}")
        sub.add_argument(
            "--config",
            type=Path,
            default=None,
            metavar="FILE",
            help=f"configuration file (default {DEFAULT_PATH}, where it exists)",
        )
        if name == command:
            importlib.import_module(module).add_arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if word in COMMANDS), None)
    args = parser(command).parse_args(words)
    try:
        code = int(importlib.import_module(COMMANDS[args.command][0]).run(args))
        # What is still buffered may meet a closed pipe or a full disk, too.
        sys.stdout.flush()
        return code
    except VedetteError as error:
        sys.stderr.write(f"vedette-collector: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"vedette-collector: {where}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
