"""``enroll``: a join token becomes an identity."""

import argparse
import asyncio
import sys

from agent import firstboot
from agent.commands.common import say, settings_of
from agent.config import AgentSettings
from agent.enroll import TOKEN_READ_CHARS_MAX, Ask, enroll, read_token, rebind, set_aside
from agent.layout import owners
from runtime.clock import SystemClock

INTAKE_PORT = 6610


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "address", metavar="HOST:PORT", nargs="?", help="the collector's enrolment listener"
    )
    parser.add_argument(
        "--intake",
        metavar="HOST:PORT",
        help=f"where batches go (default: the same host, port {INTAKE_PORT})",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="the join token (default: standard input)"
    )
    parser.set_defaults(usage_error=parser.error)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--image",
        action="store_true",
        help="prepare an image: note the addresses, make no key",
    )
    how.add_argument(
        "--first-boot",
        action="store_true",
        help="join with the addresses that the image was prepared with",
    )
    how.add_argument(
        "--reset",
        action="store_true",
        help="set the present identity aside, its keys removed, and join as a new one",
    )
    how.add_argument(
        "--rebind",
        action="store_true",
        help="keep the identity: this is the same machine, under a new machine id",
    )


def run(args: argparse.Namespace) -> int:
    """Enrol this host, or prepare what makes it enrol later.

    Raises:
        VedetteError: wrong, used or expired token, another collector, or enrolled already.
    """
    settings = settings_of(args)
    owned, _ = owners(settings.privileges)
    if args.rebind:
        identity = rebind(settings.paths, owned)
        say(f"{identity.agent} is bound to this machine")
        return 0
    if args.image:
        path = firstboot.prepare(settings.paths, _plan(args))
        say(f"prepared in {path}; no key was made")
        say("on each machine: vedette-agent enroll --first-boot --token-file FILE")
        return 0
    plan = firstboot.joining(settings.paths) if args.first_boot else _plan(args)
    _join(args, settings, plan)
    firstboot.done(settings.paths)
    return 0


def _plan(args: argparse.Namespace) -> firstboot.FirstBoot:
    if not args.address:
        args.usage_error("the collector's address is missing: HOST:PORT")
    host, _, _ = args.address.rpartition(":")
    return firstboot.FirstBoot(args.address, args.intake or f"{host}:{INTAKE_PORT}")


def _join(args: argparse.Namespace, settings: AgentSettings, plan: firstboot.FirstBoot) -> None:
    paths = [args.token_file] if args.token_file else []
    if not paths and sys.stdin.isatty():
        say("paste the join token and press Enter:")
    # A token that is none must not cost the identity there is.
    token = read_token(paths, "" if paths else sys.stdin.readline(TOKEN_READ_CHARS_MAX))
    owned, why = owners(settings.privileges)
    clock = SystemClock()
    if args.reset:
        aside = set_aside(settings.paths, clock)
        if aside is not None:
            say(f"what was here before lies in {aside}, its keys removed")
    ask = Ask(enrollment=plan.enrollment, intake=plan.intake)
    identity = asyncio.run(enroll(token, ask, settings.paths, owned, clock))
    say(f"enrolled as {identity.agent} of tenant {identity.tenant}")
    if why:
        say(f"the two halves will run as one user: {why}")
    say("start it with: vedette-agent run")
