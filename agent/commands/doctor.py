"""``doctor``: what each sensor sees and misses on this host, tried out."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import structs

from agent.commands.common import add_json, print_rows, settings_of
from agent.config import AgentSettings
from agent.layout import owners
from agent.sense import wiring
from certs.identity import AgentId, PeerIdentity, TenantId
from proto.model import HealthState
from runtime.clock import NS_PER_MS, SystemClock

COLUMNS = ("sensor", "state", "rung", "reason")
POLL_MS = 500
NOBODY = PeerIdentity(TenantId(bytes(16)), AgentId(bytes(16)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Start each sensor for a moment and print its state; exit 3 when one is not ok.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
    """
    found = list(examine(settings_of(args)))
    print_rows(found, COLUMNS, as_json=args.json)
    return 0 if all(row["state"] == HealthState.OK.value for row in found) else 3


def examine(settings: AgentSettings) -> Iterator[Mapping[str, object]]:
    """Yield one row a sensor, with what it can and cannot see here."""
    clock = SystemClock()
    owned, _ = owners(settings.privileges)
    with tempfile.TemporaryDirectory(prefix="vedette-doctor-") as scratch:
        # A scratch state: trying out must not disturb what the daemon has told.
        paths = structs.replace(settings.paths, state=scratch)
        Path(paths.sense).mkdir(mode=0o700)
        site = wiring.Site(paths, owned, clock)
        for name, sensor in wiring.build_sensors(settings.sense, site, NOBODY).items():
            sensor.start(b"")
            sensor.poll(clock.boot_ns() + POLL_MS * NS_PER_MS)
            health = sensor.health()
            sensor.stop()
            yield {
                "sensor": name,
                "state": health.state.value,
                "reason": health.reason,
                "rung": health.rung,
                "source": sensor.spec.source,
                "coverage": sensor.spec.coverage,
                "misses": sensor.spec.misses,
                "privilege": sensor.spec.privilege,
            }
