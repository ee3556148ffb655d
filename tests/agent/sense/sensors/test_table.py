from pathlib import Path

import msgspec
import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.authlog import AuthLogSettings
from agent.sense.sensors.dnssettings import DnsSettings
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.host import HostSettings
from agent.sense.sensors.journal import JournalSettings
from agent.sense.sensors.logs import LogsSettings
from agent.sense.sensors.packages import PackageSettings
from agent.sense.sensors.persist.settings import PersistenceSettings
from agent.sense.sensors.processes import ProcessSettings
from agent.sense.sensors.sockets import SocketSettings
from agent.sense.sensors.table import SENSORS, SensorPlace
from proto.model import HealthState
from tests.fakes.clock import FakeClock

SETTINGS = {
    "processes": ProcessSettings(),
    "sockets": SocketSettings(),
    "files": FileSettings(),
    "authlog": AuthLogSettings(),
    "logs": LogsSettings(),
    "journal": JournalSettings(),
    "packages": PackageSettings(),
    "host": HostSettings(),
    "persistence": PersistenceSettings(),
    "dns": DnsSettings(),
}


def test_the_table_holds_every_sensor() -> None:
    assert set(SENSORS) == set(SETTINGS)


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_declares_itself_under_its_name(name: str, tmp_path: Path) -> None:
    sensor = SENSORS[name](SETTINGS[name], SensorPlace(HostRoot(tmp_path), FakeClock(), tmp_path))

    declared = msgspec.structs.asdict(sensor.spec)

    assert sensor.spec.name == name
    assert all(declared.values())


@pytest.mark.parametrize("name", SENSORS)
def test_an_unstarted_sensor_does_nothing_and_stops(name: str, tmp_path: Path) -> None:
    sensor = SENSORS[name](SETTINGS[name], SensorPlace(HostRoot(tmp_path), FakeClock(), tmp_path))

    assert list(sensor.descriptors()) == []
    assert sensor.health().state is not HealthState.OK
    sensor.stop()
