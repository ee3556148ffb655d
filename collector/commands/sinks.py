"""``sinks ls`` and ``sinks test``."""

import argparse
import asyncio
from collections.abc import Iterator, Mapping

import msgspec

from certs.identity import TenantId
from collector.commands.common import (
    add_json,
    add_tenant,
    count,
    print_rows,
    settings_of,
    tenant_of,
)
from collector.forward.figures import figures
from collector.forward.sinks.table import build
from collector.forward.store import ForwardReader
from collector.forward.trial import named, try_out
from collector.ledger.files import TenantFiles
from collector.ledger.log import LogReader
from collector.settings import CollectorSettings
from runtime.clock import SystemClock

COLUMNS = ("name", "phase", "lag_batches", "oldest_age_s", "accepted", "letters", "detail")
TEST_COLUMNS = ("destination", "state", "top", "detail", "event_id")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("ls", "test"), help="list, or send one marked event")
    parser.add_argument("name", nargs="?", default="", help="test: which destination")
    parser.add_argument(
        "--seconds",
        type=count(1, 3600),
        default=15,
        help="test: wait at most so long (default 15)",
    )
    add_tenant(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List destinations, or try one out; exit 3 when it came less far than it can.

    Raises:
        VedetteError: no such tenant or destination, or the collector is not running.
    """
    settings = settings_of(args)
    tenant = tenant_of(args, settings)
    if args.action == "ls":
        print_rows(_rows(settings, tenant), COLUMNS, as_json=args.json)
        return 0
    destination = named(settings.forward, args.name)
    clock = SystemClock()
    report = asyncio.run(
        try_out(destination, build(destination, clock), tenant, clock, args.seconds)
    )
    print_rows([msgspec.to_builtins(report)], TEST_COLUMNS, as_json=args.json)
    return 0 if report.is_well else 3


def _rows(settings: CollectorSettings, tenant: TenantId) -> Iterator[Mapping[str, object]]:
    """Yield every destination that is set or ever was; one not tried yet has no figures."""
    files = TenantFiles(settings.paths.root)
    path = files.projection(tenant, "forward")
    waiting = {one.name for one in settings.forward if one.serves(tenant)}
    if path.exists():
        mark = LogReader(files.log(tenant)).mark()
        with ForwardReader(path) as reader:
            for status in reader.statuses():
                waiting.discard(status.name)
                yield msgspec.to_builtins(figures(status, mark, SystemClock().wall_ns()))
    for name in sorted(waiting):
        yield {"name": name, "phase": "not started"}
