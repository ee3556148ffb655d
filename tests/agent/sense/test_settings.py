import msgspec
import pytest

from agent.sense.sensors.table import SENSORS
from agent.sense.settings import SenseSettings, SensorSettings
from agent.sense.wiring import POSTURE
from runtime.settings import BadSettings, load

SECTIONS = [
    *(
        (f"sensors.{field.name}", field.type)
        for field in msgspec.structs.fields(SensorSettings)[1:]
    ),
    *(
        (field.name, field.type)
        for field in msgspec.structs.fields(SenseSettings)
        if field.name != "profile"
    ),
]


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_every_section_has_defaults_that_are_allowed_and_no_unknown_key(
    name: str, section: type[msgspec.Struct]
) -> None:
    defaults = msgspec.to_builtins(section())

    assert msgspec.convert(defaults, section) == section()
    with pytest.raises(msgspec.ValidationError, match="unknown field `surprise`"):
        msgspec.convert({"surprise": 1}, section)


def test_every_sensor_has_a_section_of_its_name_and_runs_by_default() -> None:
    sections = {field.name for field in msgspec.structs.fields(SensorSettings)} - {"enabled"}

    assert sections == {*SENSORS, POSTURE}
    assert set(SensorSettings().enabled) == sections


@pytest.mark.parametrize(
    "name", ["process", "", "agent.sense.sensors.files", "Processes", "enabled"]
)
def test_a_sensor_that_there_is_not_is_named_with_those_there_are(name: str) -> None:
    env = {"VEDETTE__SENSORS__ENABLED": f'["sockets", "{name}"]'}

    with pytest.raises(BadSettings) as caught:
        load(SenseSettings, None, env)

    assert caught.value.exit_code == 4
    assert f"names `{name}`" in caught.value.message
    assert all(known in caught.value.message for known in (*SENSORS, POSTURE))


def test_a_key_of_a_sensor_is_named_whole() -> None:
    env = {"VEDETTE__SENSORS__PROCESSES__SURPRISE": "1"}

    with pytest.raises(BadSettings) as caught:
        load(SenseSettings, None, env)

    assert caught.value.key == "sensors.processes.surprise"
