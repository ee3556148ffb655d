"""The host itself: what it is, and which containers run on it.

Source: `hostfacts` and `containers`. Privilege: none; serial numbers take root. Cost: a few
milliseconds of CPU a minute for containers, as much an hour for facts. Misses: a container that
comes and goes between two looks; its image, which only a runtime knows.
"""

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.hostroot import HostRoot
from agent.sense.ports import SensorSpec
from agent.sense.sensors.containers import ContainerListing
from agent.sense.sensors.hostfacts import FactListing
from agent.sense.sensors.inventory import FullSettings, InventorySensor, state_of
from runtime.clock import Clock

_STATE_BYTES_MAX: Final = 16 * 1024 * 1024


class HostSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How often the host is looked at."""

    # A container that lives for less may go unseen.
    containers_interval_s: Annotated[int, Meta(ge=10, le=86_400)] = 60
    # Few of them change while a host runs.
    facts_interval_s: Annotated[int, Meta(ge=60, le=86_400)] = 3600
    full: FullSettings = FullSettings()


class HostSensor(InventorySensor):
    """Tells facts and containers of a host and their changes.

    Args:
        settings: how often to look.
        host: the only way to it.
        clock: paces and stamps.
        state: our database; in a directory of `sense` alone.
    """

    spec = SensorSpec(
        name="host",
        source="os-release, /proc, /sys, control groups",
        coverage="system, kernel and hardware; containers with a control group",
        misses="containers between two looks; images and names that only a runtime knows",
        privilege="none; serial numbers need root",
        cost="a few milliseconds of CPU a minute",
    )

    def __init__(self, settings: HostSettings, host: HostRoot, clock: Clock, state: Path) -> None:
        listings = (
            FactListing(host, settings.facts_interval_s),
            ContainerListing(host, settings.containers_interval_s),
        )
        super().__init__(listings, clock, state_of(state, _STATE_BYTES_MAX), settings.full)
