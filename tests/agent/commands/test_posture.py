import json
from pathlib import Path

import pytest

from agent.commands import posture
from proto.content.checks import builtin_pack
from tests.agent.machine import Machine


def judged(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {row["check"]: row for row in rows}


def test_each_check_is_one_line_with_the_fields_scripts_depend_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Machine(tmp_path).with_golden_host().run("posture", "--json")

    rows = judged(capsys)
    assert set(rows) == {check.id for check in builtin_pack().checks}
    for row in rows.values():
        assert set(row) == {"check", "state", "reason", "severity", "refs"}
        assert row["state"] in {"pass", "fail", "unknown", "not_applicable"}
        assert row["state"] == "pass" or row["reason"]


def test_a_check_that_fails_is_exit_3_and_what_could_not_be_seen_never_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    root = Path(machine.paths.host_root)
    (root / "etc/passwd").chmod(0o666)

    code = machine.run("posture", "--json")

    rows = judged(capsys)
    assert code == 3
    assert rows["linux.file.passwd_unalterable"]["state"] == "fail"
    assert rows["linux.file.shadow_private"]["state"] == "unknown"


def test_a_host_of_which_nothing_is_known_does_not_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    Path(machine.paths.host_root).mkdir()

    code = machine.run("posture", "--json")

    assert code == 0
    assert {row["state"] for row in judged(capsys).values()} <= {"unknown", "not_applicable"}


def test_a_person_sees_the_state_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Machine(tmp_path).with_golden_host().run("posture")

    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == [column.upper() for column in posture.COLUMNS]
    assert len(lines) == len(builtin_pack().checks)
    assert {line.split()[0] for line in lines} <= {"pass", "fail", "unknown", "not_applicable"}
