"""``vedette-agent``: the command line of the agent.

Results go to standard output, everything else to standard error. Exit codes: 0 ok, 1 failure,
2 usage, 3 unhealthy or findings present, 4 bad configuration, 5 peer unreachable, 6 identity
refused, 7 locked.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, cast

from agent import DEFAULT_PATH, __version__
from agent.lean import without
from runtime.errors import VedetteError

if TYPE_CHECKING:
    import argparse

# Command: the module that runs it, what it does, and an example. Modules are imported on use, so
# that a command costs what it needs.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "enroll": (
        "agent.commands.enroll",
        "trade a join token for an identity",
        "vedette-agent enroll collector.example.org:6611 --token-file token",
    ),
    "run": (
        "agent.commands.run",
        "start and supervise sense and ship",
        "vedette-agent run --config /etc/vedette/agent.toml",
    ),
    "sense": ("agent.commands.sense", "run the privileged half", "vedette-agent sense"),
    "ship": ("agent.commands.ship", "run the networked half", "vedette-agent ship"),
    "inspect": (
        "agent.commands.inspect",
        "read what strangers wrote, shut in; started by sense or its socket unit",
        "vedette-agent inspect",
    ),
    "scan": (
        "agent.commands.scan",
        "look once, without any collector",
        "vedette-agent scan --json",
    ),
    "ls": (
        "agent.commands.ls",
        "show a table of what is on this host now",
        "vedette-agent ls processes --json",
    ),
    "match": (
        "agent.commands.match",
        "match values against indicators, or recorded events against rules",
        "vedette-agent match --rules rules/ --format ecs --events events.jsonl --json",
    ),
    "explain": (
        "agent.commands.explain",
        "say why something is a finding, or is none",
        "vedette-agent explain --process 4242",
    ),
    "posture": (
        "agent.commands.posture",
        "judge this host's configuration once",
        "vedette-agent posture --json",
    ),
    "tuf": (
        "agent.tufcli",
        "follow a TUF repository by hand",
        "vedette-agent tuf --metadata-dir DIR --metadata-url URL refresh",
    ),
    "doctor": (
        "agent.commands.doctor",
        "say what each sensor sees and misses here",
        "vedette-agent doctor",
    ),
    "status": (
        "agent.commands.status",
        "say who this agent is and what it still owes",
        "vedette-agent status --json",
    ),
    "outbox": (
        "agent.commands.outbox",
        "list or export sealed batches",
        "vedette-agent outbox ls --json",
    ),
    "config": (
        "agent.commands.config",
        "check or show the configuration",
        "vedette-agent config check",
    ),
}

# What a daemon's libraries look for and do as well without, megabytes each: type hints for Pythons
# older than ours; asyncio's TLS, where gRPC brings its own; a second OpenSSL for a few digests.
DONE_WITHOUT: dict[str, tuple[str, ...]] = {
    "sense": ("typing_extensions", "ssl", "_ssl", "_hashlib"),
    "ship": ("ssl", "_ssl", "_hashlib"),
    "inspect": ("typing_extensions", "ssl", "_ssl", "_hashlib"),
}


def parser(command: str | None = None) -> "argparse.ArgumentParser":
    """Return the parser, with the options of one command filled in."""
    # A daemon started in the usual way is spared it.
    import argparse  # noqa: PLC0415

    top = argparse.ArgumentParser(
        prog="vedette-agent",
        description="The edge sensor agent: sees, matches offline, seals and ships.",
        epilog="example: vedette-agent scan --json",
    )
    top.add_argument("--version", action="version", version=f"vedette-agent {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, text, example) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text, epilog=f"example: {example}")
        sub.add_argument(
            "--config",
            type=Path,
            default=None,
            metavar="FILE",
            help=f"configuration file (default {DEFAULT_PATH}, where it exists)",
        )
        if name == command:
            _load(command).add_arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if word in COMMANDS), None)
    args = _plain(words) or parser(command).parse_args(words)
    try:
        code = int(_load(args.command).run(args))
        # What is still buffered may meet a closed pipe or a full disk, too.
        sys.stdout.flush()
        return code
    except VedetteError as error:
        sys.stderr.write(f"vedette-agent: {_one_line(error.message)}\n")
        if error.hint:
            sys.stderr.write(f"  {_one_line(error.hint)}\n")
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"vedette-agent: {_one_line(f'{where}{error.strerror or error}')}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _one_line(text: str) -> str:
    """Return a message that may quote a peer or a file name, unable to move the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _plain(words: Sequence[str]) -> "argparse.Namespace | None":
    """Return the arguments of a daemon that has none but its configuration, else None."""
    match words:
        case [command] if command in DONE_WITHOUT:
            config = None
        case [command, "--config", path] if command in DONE_WITHOUT and path[:1] != "-":
            config = Path(path)
        case _:
            return None
    return cast("argparse.Namespace", SimpleNamespace(command=command, config=config))


def _load(command: str) -> ModuleType:
    if command not in DONE_WITHOUT:
        return importlib.import_module(COMMANDS[command][0])
    with without(DONE_WITHOUT[command]):
        return importlib.import_module(COMMANDS[command][0])
