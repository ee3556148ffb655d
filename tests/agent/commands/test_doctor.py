import json
from pathlib import Path

import pytest

from agent.commands import doctor
from agent.sense.sensors.table import SENSORS
from agent.sense.wiring import POSTURE
from tests.agent.machine import Machine

STATES = {"ok", "degraded", "blind"}


def test_each_sensor_is_one_line_with_the_fields_scripts_depend_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()

    code = machine.run("doctor", "--json")

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 3
    assert [row["sensor"] for row in rows] == [*SENSORS, POSTURE]
    for row in rows:
        assert row["state"] in STATES
        assert (row["state"] == "ok") == (row["reason"] == "")
        assert all(row[name] for name in ("rung", "source", "coverage", "misses", "privilege"))


def test_a_host_where_every_sensor_sees_is_exit_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["packages"]\n')

    code = machine.run("doctor")

    heading, row = capsys.readouterr().out.splitlines()
    assert code == 0
    assert heading.split() == ["SENSOR", "STATE", "RUNG", "REASON"]
    assert row.split()[:2] == ["packages", "ok"]


def test_a_blind_sensor_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["authlog"]\n')

    code = machine.run("doctor", "--json")

    row = json.loads(capsys.readouterr().out)
    assert (code, row["state"]) == (3, "blind")
    assert "/var/log/auth.log: no such file" in row["reason"]


def test_trying_out_leaves_no_trace_in_the_state_of_the_daemon(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host()

    list(doctor.examine(machine.settings))

    assert not Path(machine.paths.state).exists()


def test_a_sensor_that_there_is_not_is_a_bad_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["keylogger"]\n')

    code = machine.run("doctor")

    assert code == 4
    said = capsys.readouterr().err
    assert "agent.toml: sense.sensors" in said
    assert "`enabled` names `keylogger`; the sensors are: processes," in said
