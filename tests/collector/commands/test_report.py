import json
from pathlib import Path

import pytest

from collector.commands import report
from proto.model import CheckState
from tests.collector.shell import Sealing, Shell, a_verdict, until_idle, working


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A collector that knows of one host that one check fails on it."""
    shell = Shell(tmp_path_factory.mktemp("report"))
    tenant = shell.init()
    shell.append(tenant, Sealing(tenant).seal(a_verdict(CheckState.FAIL)))
    with working(shell, tenant) as worked:
        until_idle(worked)
    return shell


def test_every_framework_has_a_row_with_score_and_coverage(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    code = shell.run("report", "--json")

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert {row["framework"] for row in rows} == {"nist80053", "iso27001", "soc2"}
    assert all(0 <= row["score_percent"] <= row["upper_percent"] <= 100 for row in rows)
    # It has said that it fails, and sent no evidence: that counts against it and for nothing.
    standing = {(row["hosts"], row["hosts_failing"], row["hosts_reporting"]) for row in rows}
    assert standing == {(1, 1, 0)}


def test_people_get_words_that_promise_no_certificate(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    code = shell.run("report")

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.count("Readiness evidence for ") == 3
    assert "compliant" not in out.lower()


def test_one_framework_is_shown_by_requirement(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = (
        shell.run("report", "--framework", "nist80053", "--json"),
        shell.run("report", "--framework", "nist80053"),
    )

    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    table = lines[len(rows) :]
    assert codes == (0, 0)
    assert {row["framework"] for row in rows} == {"nist80053"}
    assert "fail" in {row["state"] for row in rows}
    assert "pass" not in {row["state"] for row in rows}
    assert table[0].split() == [column.upper() for column in report.ITEM_COLUMNS]
    assert len(table) == len(rows) + 1


def test_a_framework_that_is_not_there_is_a_usage_error_that_names_those_there_are(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    code = shell.run("report", "--framework", "pci")

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert "no framework 'pci'; there are: " in err
    assert "soc2" in err


def test_before_the_worker_has_run_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = Shell(tmp_path)
    fresh.init()

    assert fresh.run("report") == 1
    assert "nothing to read yet" in capsys.readouterr().err
