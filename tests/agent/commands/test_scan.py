import json
import time
from pathlib import Path

import pytest

from agent.commands.scan import findings
from proto.content.kinds import IndicatorKind
from proto.content.rulesfile import written
from tests.agent.machine import Machine
from tests.collector.content.rulesources import a_rule, compiled
from tests.proto.content.builders import DAY_NS, a_file, a_provenance

FIELDS = {"uid", "kind", "severity", "title", "rule", "source", "coverage", "observed_at"}


def an_index(folder: Path, days: int = 30) -> Path:
    """An index of one indicator that holds for so many days more."""
    path = folder / "indicators.vdx"
    listed = a_provenance(expires=(time.time_ns() // DAY_NS + days) * DAY_NS)
    path.write_bytes(a_file([(IndicatorKind.PROCESS_NAME, "sudo", listed)]))
    return path


def scanned(
    machine: Machine, capsys: pytest.CaptureFixture[str], *argv: str
) -> tuple[int, list[dict[str, object]], str]:
    code = machine.run("scan", "--json", *argv)
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_each_finding_is_one_line_with_the_fields_scripts_depend_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()

    code, rows, err = scanned(machine, capsys)

    assert code == 3
    assert err == f"{len(rows)} findings; nothing was sealed or sent\n"
    for row in rows:
        assert set(row) >= FIELDS
        assert all(row[name] for name in FIELDS)


def test_an_indicator_on_the_host_is_a_finding_with_its_provenance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["processes"]\n')
    index = an_index(tmp_path)

    code, rows, _ = scanned(machine, capsys, "--index", str(index))

    assert code == 3
    assert {row["rule"] for row in rows} == {"indicator.process_name"}
    assert all("testfeed" in json.dumps(row["indicator"]) for row in rows)
    assert 901 in [row["process"]["pid"] for row in rows]  # type: ignore[index]


def test_an_indicator_past_its_time_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["processes"]\n')

    code, rows, _ = scanned(machine, capsys, "--index", str(an_index(tmp_path, days=-2)))

    assert (code, rows) == (0, [])


def test_the_same_host_gives_the_same_findings(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host()

    keys = [[one.key for one in findings(machine.settings, None, 60)] for _ in range(2)]

    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(keys[0])


def test_nothing_found_is_silence_and_exit_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["packages"]\n')

    code, rows, err = scanned(machine, capsys)

    assert (code, rows) == (0, [])
    assert err == "0 findings; nothing was sealed or sent\n"


def test_a_verdict_that_passes_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["posture"]\n')

    _, rows, _ = scanned(machine, capsys)

    states = {row["check"]["state"] for row in rows}  # type: ignore[index]
    assert states == {"fail", "unknown"}
    assert "linux.accounts.one_superuser" not in {row["rule"] for row in rows}


def test_no_time_means_no_look(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host()

    assert list(findings(machine.settings, None, 0)) == []


def test_a_scan_leaves_no_trace_in_the_state_of_the_daemon(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host()

    list(findings(machine.settings, None, 60))

    assert not Path(machine.paths.state).exists()


def test_an_index_that_is_none_is_an_error_before_anything_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    (tmp_path / "bad.vdx").touch()

    code = machine.run("scan", "--index", str(tmp_path / "bad.vdx"))

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("vedette-agent: ")


def test_a_person_sees_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path).with_golden_host()

    machine.run("scan", "--index", str(an_index(tmp_path)))

    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["SEVERITY", "KIND", "TITLE"]
    assert lines
    assert all(line.isprintable() for line in lines)


def test_what_is_bad_by_itself_is_found_on_a_host_that_was_never_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["persistence"]\n')
    etc = Path(machine.paths.host_root) / "etc"
    with (etc / "passwd").open("a") as file:
        file.write("toor:x:0:0::/:/bin/sh\n")
    (etc / "ld.so.preload").write_text("/tmp/evil.so\n")
    (etc / "crontab").write_text("@daily root run\n")
    (etc / "crontab").chmod(0o666)

    code, rows, _ = scanned(machine, capsys)

    assert code == 3
    assert {(row["rule"], row["severity"]) for row in rows} == {
        ("persistence.uid_zero", "medium"),
        ("persistence.ld_preload", "medium"),
        ("persistence.world_writable", "low"),
    }


def test_a_rule_that_a_host_meets_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.configure('[sense.sensors]\nenabled = ["processes"]\n')
    rules = tmp_path / "content.vdr"
    made = compiled(a_rule("  sel:\n    Image|contains: /", more="level: high\n"))
    rules.write_bytes(written(made.rules))

    code, rows, _ = scanned(machine, capsys, "--rules", str(rules))

    assert code == 3
    assert {(row["rule"], row["severity"]) for row in rows} == {(made.rules.rules[0].id, "high")}
