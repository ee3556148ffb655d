from pathlib import Path

import pytest

from agent.errors import NotEnrolled
from agent.settings import SharedSettings
from agent.ship.app import Ship
from agent.ship.wiring import build
from runtime.settings import load
from tests.agent.machine import Machine
from tests.fakes.clock import FakeClock


def half() -> float:
    return 0.5


def shared(machine: Machine) -> SharedSettings:
    return load(SharedSettings, machine.config, {})


def test_ship_is_built_from_its_own_files_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    for path in machine.sense.iterdir():
        path.unlink()

    assert isinstance(build(shared(machine), FakeClock(), half), Ship)


@pytest.mark.parametrize("name", ["identity.json", "trust.json", "tls.json"])
def test_a_file_that_is_missing_or_damaged_is_not_enrolled(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path).enrolled()
    (machine.ship / name).write_bytes(b"{}")

    with pytest.raises(NotEnrolled):
        build(shared(machine), FakeClock(), half)

    (machine.ship / name).unlink()
    with pytest.raises(NotEnrolled):
        build(shared(machine), FakeClock(), half)
