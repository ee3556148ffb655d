import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import NotEnrolled
from agent.firstboot import FILE, FirstBoot, done, joining, prepare
from agent.settings import PathSettings
from tests.agent.machine import Machine

PLAN = FirstBoot("collector.example:6611", "collector.example:6610")


def test_what_an_image_was_prepared_with_is_read_once(tmp_path: Path) -> None:
    paths = PathSettings(state=str(tmp_path / "state"))

    prepare(paths, PLAN)
    assert joining(paths) == PLAN
    done(paths)
    done(paths)

    with pytest.raises(NotEnrolled, match="nothing was prepared"):
        joining(paths)


def test_an_image_holds_no_key_and_no_token(tmp_path: Path) -> None:
    paths = PathSettings(state=str(tmp_path / "state"))

    prepare(paths, PLAN)

    assert [path.name for path in (tmp_path / "state").rglob("*")] == [FILE]


@pytest.mark.parametrize("name", ["signing.pem", "identity.json"])
def test_a_machine_with_an_identity_is_no_image(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path).enrolled()
    for other in {"signing.pem", "identity.json"} - {name}:
        (machine.sense / other).unlink()

    with pytest.raises(NotEnrolled, match="would be the same one"):
        prepare(machine.paths, PLAN)

    assert not (Path(machine.paths.state) / FILE).exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_plan_or_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)

    with contextlib.suppress(NotEnrolled):
        assert isinstance(joining(PathSettings(state=str(tmp_path))), FirstBoot)
