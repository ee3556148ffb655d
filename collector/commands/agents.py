"""``agents ls`` and ``agents revoke``."""

import argparse

from certs.identity import AgentId, PeerIdentity
from collector.commands.common import (
    BadUsage,
    add_json,
    add_tenant,
    identifier,
    print_rows,
    projection,
    say,
    settings_of,
    tenant_of,
)
from collector.index import queries
from collector.issuer.messages import Revoke, Standing
from collector.issuer.syncclient import ask

REASON_CHARS_MAX = 256
COLUMNS = ("host", "agent", "last_seen", "seq", "split", "trusted", "version")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("ls", "revoke"), help="list, or cut one off for ever")
    parser.add_argument("agent", nargs="?", type=identifier, help="revoke: the agent's id")
    parser.add_argument("--reason", default="revoked by the operator", help="revoke: why")
    add_tenant(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List agents that have sent something, or revoke one.

    Raises:
        BadUsage: no agent was named.
        VedetteError: no such tenant or agent, or the collector is not running.
    """
    settings = settings_of(args)
    if args.action == "ls":
        with projection(args, settings, "index") as db:
            print_rows(queries.hosts(db), COLUMNS, as_json=args.json)
        return 0
    if args.agent is None:
        raise BadUsage("name the agent to revoke", hint="vedette-collector agents ls shows ids")
    if not 0 < len(args.reason) <= REASON_CHARS_MAX:
        raise BadUsage(f"a reason has 1 to {REASON_CHARS_MAX} characters")
    peer = PeerIdentity(tenant_of(args, settings), AgentId.parse(args.agent))
    ask(settings.paths.issuer_socket, Revoke(peer=peer, reason=args.reason), Standing)
    say(f"{args.agent} is revoked; open streams end within two seconds")
    return 0
