"""``index rebuild``: throw a projection away and let the worker build it again."""

import argparse

from collector.commands.common import add_tenant, say, settings_of, tenant_of
from collector.ledger.files import TenantFiles

# As `collector.work.projections` names them; that module loads all rooms.
PROJECTIONS = ("index", "correlate", "comply")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("rebuild",), help="build anew from the ledger")
    parser.add_argument("--projection", choices=PROJECTIONS, default="index", help="which one")
    add_tenant(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the worker to rebuild; it does so at its next turn and never seals anything twice.

    Raises:
        VedetteError: no such tenant, or the collector is not running.
        OSError: the request cannot be written.
    """
    settings = settings_of(args)
    directory = TenantFiles(settings.paths.root).directory(tenant_of(args, settings))
    (directory / f"{args.projection}.rebuild").touch()
    say(f"the worker rebuilds {args.projection} at its next turn; its log says when it is done")
    return 0
