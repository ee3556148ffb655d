"""The laws of canaries: each is known by its own echo alone, and leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from agent.commands.canaries import CANARIES, LOGS, LOOKS, canary_for
from agent.sense.ports import Sighting
from agent.sense.sensors.table import SENSORS
from agent.sense.settings import SensorSettings
from proto import model
from tests.proto.builders import a_process, an_observation


@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_has_steps_and_no_strange_sighting_is_its_echo(name: str, tmp_path: Path) -> None:
    strange: list[Sighting] = [
        an_observation(a_process(argv=("sleep", "60"))),
        an_observation(model.File("/watched/other"), kind=model.ObservationKind.FILE_CREATED),
        an_observation(
            model.Endpoint(protocol="tcp", local_address="127.0.0.1", local_port=1),
            kind=model.ObservationKind.SOCKET_LISTEN,
        ),
        an_observation(model.Login(user=model.User(name="root"))),
        model.Drop(reason=model.DropReason.OVERFLOW),
    ]

    with canary_for(name, getattr(SensorSettings(), name), tmp_path) as canary:
        assert canary is not None
        steps = canary.steps()
        assert steps
        assert all(step.what for step in steps)
        assert not any(step.is_echo(sighting) for step in steps for sighting in strange)


def test_every_canary_is_of_a_sensor_there_is() -> None:
    assert set(CANARIES) <= set(SENSORS)
    assert set(LOGS) <= set(SENSORS)
    assert set(LOOKS) <= set(SENSORS)


def test_a_sensor_without_a_canary_has_none(tmp_path: Path) -> None:
    with canary_for("posture", object(), tmp_path) as canary:
        assert canary is None


def test_the_process_of_a_canary_is_gone_when_it_is_closed(tmp_path: Path) -> None:
    with canary_for("processes", SensorSettings().processes, tmp_path) as canary:
        assert canary is not None
        canary.steps()[0].fire()
        child = vars(canary)["_child"]
        assert isinstance(child, subprocess.Popen)
        assert child.poll() is None

    assert child.poll() is not None


def test_the_port_of_a_canary_is_free_when_it_is_closed(tmp_path: Path) -> None:
    with canary_for("sockets", SensorSettings().sockets, tmp_path) as canary:
        assert canary is not None
        for step in canary.steps():
            step.fire()
        sockets = vars(canary)["_open"]

    assert len(sockets) == 2
    assert all(item.fileno() < 0 for item in sockets)
