"""``token``: mint a join token."""

import argparse
import sys

from collector.commands.common import add_tenant, count, say, settings_of, tenant_of
from collector.issuer.messages import MintToken, TokenMinted
from collector.issuer.settings import DEFAULT_TOKEN_LIFE_S, TOKEN_LIFE_S_MAX
from collector.issuer.syncclient import ask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_tenant(parser)
    parser.add_argument(
        "--life-s",
        type=count(1, TOKEN_LIFE_S_MAX),
        default=DEFAULT_TOKEN_LIFE_S,
        metavar="SECONDS",
        help=f"how long it lives (default {DEFAULT_TOKEN_LIFE_S}, at most {TOKEN_LIFE_S_MAX})",
    )


def run(args: argparse.Namespace) -> int:
    """Print a token that enrols one host, once.

    Raises:
        NoSuchTenant: the tenant is not known.
        IssuerUnavailable: the collector is not running.
    """
    settings = settings_of(args)
    request = MintToken(tenant=tenant_of(args, settings), life_s=args.life_s)
    minted = ask(settings.paths.issuer_socket, request, TokenMinted)
    sys.stdout.write(minted.token + "\n")
    say(f"good for one host and {args.life_s} s; give it to: vedette-agent enroll HOST:6611")
    return 0
