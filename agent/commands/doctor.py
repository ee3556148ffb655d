"""``doctor``: what each sensor sees and misses on this host, tried out."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import structs

from agent.commands.common import add_json, print_rows, settings_of
from agent.commands.once import NOBODY, SLICE_MS
from agent.config import AgentSettings
from agent.layout import owners
from agent.sense import wiring
from agent.sense.ports import Sensor
from proto.model import HealthState
from runtime.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock

COLUMNS = ("sensor", "state", "rung", "reason")
LOOK_S = 5


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
            _settle(sensor, clock)
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


def _settle(sensor: Sensor, clock: Clock) -> None:
    """Let a sensor finish its first look, or as much of it as a person waits for."""
    end = clock.boot_ns() + LOOK_S * NS_PER_S
    while clock.boot_ns() < end:
        sensor.poll(clock.boot_ns() + SLICE_MS * NS_PER_MS)
        due = sensor.due()
        if due is None or due > clock.boot_ns():
            return
