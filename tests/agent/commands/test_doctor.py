import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from agent.commands import doctor
from agent.commands.daemonsays import DaemonWord
from agent.privileges import held
from agent.sense.profiles import runs
from agent.sense.sensors.table import SENSORS
from agent.sense.wiring import POSTURE
from tests.agent.daemons import SENSE, SHIP, a_daemon, a_split_machine
from tests.agent.machine import Machine

STATES = {"ok", "degraded", "blind"}
# What runs in the profile of that name.
STANDARD = [name for name in (*SENSORS, POSTURE) if runs("standard", name)]


def rows_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def on_this_machine(machine: Machine, *sensors: str, extra: str = "") -> Machine:
    machine.paths = structs.replace(machine.paths, host_root="/")
    machine.configure(f"[sense.sensors]\nenabled = {json.dumps(sensors)}\n{extra}")
    return machine


def test_each_sensor_is_one_line_with_the_fields_scripts_depend_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()

    code = machine.run("doctor", "--json")

    rows = rows_of(capsys)
    assert code == 3
    assert [row["sensor"] for row in rows] == STANDARD
    for row in rows:
        assert row["state"] in STATES
        assert (row["state"] == "ok") == (row["reason"] == "")
        assert all(
            row[name]
            for name in (
                "rung",
                "canary",
                "cpu_ms",
                "source",
                "coverage",
                "misses",
                "privilege",
                "cost",
            )
        )


def test_a_host_where_every_sensor_sees_is_exit_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["packages"]\n')

    code = machine.run("doctor")

    heading, row = capsys.readouterr().out.splitlines()
    assert code == 0
    assert heading.split() == ["SENSOR", "STATE", "RUNG", "CANARY", "REASON"]
    assert row.split()[:2] == ["packages", "ok"]


@pytest.mark.parametrize("name", ["processes", "sockets", "files", "packages", "persistence"])
def test_a_canary_is_seen_through_each_sensor_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    machine = on_this_machine(Machine(tmp_path), name)

    machine.run("doctor", "--json")

    (row,) = rows_of(capsys)
    assert "seen in" in str(row["canary"]), row
    assert isinstance(row["canary_ms"], float)
    assert 0 < row["canary_ms"] < doctor.CANARY_S * 1000
    assert row["state"] != "blind" or name in {"packages", "persistence"}


@pytest.mark.parametrize(("name", "log"), [("authlog", "auth.log"), ("logs", "syslog")])
def test_a_log_is_judged_by_a_line_of_ours_and_by_how_old_its_own_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, log: str
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    path = Path(machine.paths.host_root) / "var/log" / log
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1, 1))
    machine.configure(f'[sense.sensors]\nenabled = ["{name}"]\n')

    code = machine.run("doctor", "--json")

    (row,) = rows_of(capsys)
    assert (code, row["state"]) == (0, "ok") or name == "logs"
    assert "seen in" in str(row["canary"])
    assert isinstance(row["source_age_s"], int)
    assert row["source_age_s"] > 10**9


def test_what_was_not_seen_makes_a_sensor_blind_whatever_it_says_of_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CANARY_S", 0)
    machine = on_this_machine(Machine(tmp_path), "sockets")

    code = machine.run("doctor", "--json")

    (row,) = rows_of(capsys)
    assert (code, row["state"]) == (3, "blind")
    assert "a listening port was not seen" in str(row["reason"])


def test_nothing_is_done_on_a_machine_that_is_not_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["processes", "sockets"]\n')

    machine.run("doctor", "--json")

    assert all("not this machine" in str(row["canary"]) for row in rows_of(capsys))


def test_a_blind_sensor_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["authlog"]\n')

    code = machine.run("doctor", "--json")

    (row,) = rows_of(capsys)
    assert (code, row["state"]) == (3, "blind")
    assert "/var/log/auth.log: no such file" in str(row["reason"])


def test_trying_out_leaves_no_trace_in_the_state_of_the_daemon(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host()

    names: list[str] = []
    list(doctor.examine(machine.settings, names.append))

    assert names == STANDARD
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


def test_what_the_running_daemon_says_stands_beside_what_was_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    machine.configure('[sense.sensors]\nenabled = ["packages"]\n[metrics]\nport = 0\n')

    with a_daemon(machine, "sense") as daemon:
        daemon.until("READY=1")
        machine.wait_for_a_batch()
        machine.run("doctor", "--json")
        daemon.stop()

    (row,) = rows_of(capsys)
    word = row["daemon"]
    assert isinstance(word, dict)
    assert (word["state"], word["rung"], word["dropped"]) == ("ok", row["rung"], 0)


def test_what_a_sensor_that_is_ok_could_see_more_of_is_told_with_the_way_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = on_this_machine(Machine(tmp_path), "processes")

    machine.run("doctor", "--json")

    out, err = capsys.readouterr()
    row = json.loads(out)
    if row["state"] != "ok" or row["rung"] == "audit":
        pytest.skip(f"processes are {row['state']} on rung {row['rung']} here")
    assert row["reason"] == ""
    assert "arguments are read from /proc" in row["notes"]
    assert f"processes: {row['notes']}" in err


@pytest.mark.root
@pytest.mark.skipif("sys_ptrace" not in held(), reason="what is to be missing is not held here")
def test_root_sees_with_the_eyes_of_the_daemon_and_is_told_what_to_grant() -> None:
    with a_split_machine() as machine:
        on_this_machine(machine, "processes", extra='[sense]\nprofile = "minimal"\n')
        text = machine.config.read_text()
        for name, value in (("sense_user", SENSE), ("ship_user", SHIP)):
            text = text.replace(f'{name} = "{os.geteuid()}"', f'{name} = "{value}"')
        machine.config.write_text(text)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "agent", "doctor", "--json", "--config", machine.config],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    row = json.loads(done.stdout)
    assert (done.returncode, row["state"]) == (3, "degraded")
    assert "sys_ptrace" in row["missing"]
    assert "full.conf" in row["grant"]
    assert "to see more: install" in done.stderr


@pytest.mark.parametrize(("state", "reason"), [("ok", ""), ("blind", "no unit")])
def test_of_a_sensor_that_is_spoken_to_at_the_door_the_daemon_tells(
    state: str, reason: str
) -> None:
    row = {"sensor": "dns", "state": "blind", "reason": "no unit", "rung": "none", "canary": "x"}

    told = doctor.said_by(DaemonWord(state, "packets", 5, 0), row)

    assert (told["state"], told["reason"], told["rung"]) == (state, reason, "packets")
    assert "as the daemon says" in str(told["canary"])
    assert doctor.said_by(None, row) == row
    other = doctor.said_by(DaemonWord("ok", "x", 5, 0), row | {"sensor": "files"})
    assert (other["state"], "daemon" in other) == ("blind", True)
