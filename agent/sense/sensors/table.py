"""Every sensor of a host, by name. A literal table: nothing is found by scanning, nothing plugs in.

The posture engine, which judges what its probes read, is not one of these readers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from agent.hostroot import HostRoot
from agent.sense.ports import Sensor
from agent.sense.sensors.authlog import AuthLogSensor
from agent.sense.sensors.files import FileSensor
from agent.sense.sensors.host import HostSensor
from agent.sense.sensors.journal import JournalSensor
from agent.sense.sensors.logs import LogsSensor
from agent.sense.sensors.packages import PackageSensor
from agent.sense.sensors.persistence import PersistenceSensor
from agent.sense.sensors.processes import ProcessSensor
from agent.sense.sensors.sockets import SocketSensor
from runtime.clock import Clock


class SensorPlace(Struct, frozen=True):
    """Where a sensor looks, by which clock, and the directory where it keeps what it told.

    ``dns_door`` is where the unit that sees DNS packets knocks, ``dns_uid`` who it must be.
    """

    host: HostRoot
    clock: Clock
    state: Path
    dns_door: Path | None = None
    dns_uid: int | None = None


# Takes the sensor's own section of the settings.
SensorFactory = Callable[[Any, SensorPlace], Sensor]


def _dns(own: Any, at: SensorPlace) -> Sensor:  # noqa: ANN401  (as `SensorFactory`)
    # Most profiles do without it: half a megabyte for whoever runs it.
    from agent.sense.sensors.dns import DnsSensor  # noqa: PLC0415

    return DnsSensor(own, at.host, at.clock, (at.dns_door, at.dns_uid))


SENSORS: Final[Mapping[str, SensorFactory]] = {
    "processes": lambda own, at: ProcessSensor(own, at.host, at.clock),
    "sockets": lambda own, at: SocketSensor(own, at.host, at.clock),
    "files": lambda own, at: FileSensor(own, at.host, at.clock, at.state / "files.db"),
    "authlog": lambda own, at: AuthLogSensor(own, at.host, at.clock),
    "logs": lambda own, at: LogsSensor(own, at.host, at.clock),
    "journal": lambda own, at: JournalSensor(own, at.host, at.clock),
    "packages": lambda own, at: PackageSensor(own, at.host, at.clock, at.state / "packages.db"),
    "host": lambda own, at: HostSensor(own, at.host, at.clock, at.state / "host.db"),
    "persistence": lambda own, at: PersistenceSensor(
        own, at.host, at.clock, at.state / "persistence.db"
    ),
    "dns": _dns,
}
