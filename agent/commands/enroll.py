"""``enroll``: a join token becomes an identity."""

import argparse
import asyncio
import sys

from agent.commands.common import say, settings_of
from agent.enroll import TOKEN_READ_CHARS_MAX, Ask, enroll, read_token
from agent.layout import owners
from runtime.clock import SystemClock

INTAKE_PORT = 6610


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("address", metavar="HOST:PORT", help="the collector's enrolment listener")
    parser.add_argument(
        "--intake",
        metavar="HOST:PORT",
        help=f"where batches go (default: the same host, port {INTAKE_PORT})",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="the join token (default: standard input)"
    )


def run(args: argparse.Namespace) -> int:
    """Enrol this host.

    Raises:
        VedetteError: wrong, used or expired token, another collector, or enrolled already.
    """
    settings = settings_of(args)
    paths = [args.token_file] if args.token_file else []
    if not paths and sys.stdin.isatty():
        say("paste the join token and press Enter:")
    token = read_token(paths, "" if paths else sys.stdin.readline(TOKEN_READ_CHARS_MAX))
    host, _, _ = args.address.rpartition(":")
    ask = Ask(enrollment=args.address, intake=args.intake or f"{host}:{INTAKE_PORT}")
    owned, why = owners(settings.privileges)
    identity = asyncio.run(enroll(token, ask, settings.paths, owned, SystemClock()))
    say(f"enrolled as {identity.agent} of tenant {identity.tenant}")
    if why:
        say(f"the two halves will run as one user: {why}")
    say("start it with: vedette-agent run")
    return 0
