import json
from pathlib import Path

import pytest

from collector.commands import findings
from proto.model import Severity
from tests.collector.shell import Sealing, Shell, a_detection, a_verdict, until_idle, working

NAMES = ["uid", "kind", "severity", "title", "rule", "source", "coverage", "observed_at"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A collector to which two hosts have sent what they found, one of them twice."""
    shell = Shell(tmp_path_factory.mktemp("findings"))
    tenant = shell.init()
    web, odd = Sealing(tenant), Sealing(tenant, "bad\x1b[31m\nname")
    sent = web.seal(a_detection(1, severity=Severity.LOW), a_detection(2))
    shell.append(tenant, sent, odd.seal(a_verdict()), sent)
    with working(shell, tenant) as worked:
        until_idle(worked)
    return shell


def rows(shell: Shell, capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, object]]:
    assert shell.run("findings", "--json", *argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


def test_every_sealed_finding_stands_once_on_a_line_of_its_own(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(shell, capsys)

    assert [row["title"] for row in found] == ["Finding 9", "Finding 2", "Finding 1"]
    assert len({row["uid"] for row in found}) == 3
    assert all(row.keys() >= set(NAMES) for row in found)


@pytest.mark.parametrize(
    ("argv", "titles"),
    [
        (["--severity", "high"], ["Finding 2"]),
        (["--severity", "low"], ["Finding 9", "Finding 2", "Finding 1"]),
        (["--kind", "compliance"], ["Finding 9"]),
        (["--rule", "indicator.sha256", "--severity", "medium"], ["Finding 2"]),
        (["--rule", "' OR 1=1 --"], []),
        (["--limit", "1"], ["Finding 9"]),
    ],
)
def test_filters_narrow_what_is_listed(
    shell: Shell, capsys: pytest.CaptureFixture[str], argv: list[str], titles: list[str]
) -> None:
    assert [row["title"] for row in rows(shell, capsys, *argv)] == titles


@pytest.mark.parametrize(
    "argv",
    [
        ["--limit", "0"],
        ["--limit", "-1"],
        ["--limit", str(findings.LIMIT_MAX + 1)],
        ["--severity", "worst"],
        ["--severity", "unspecified"],
        ["--kind", "unspecified"],
    ],
)
def test_a_filter_that_means_nothing_is_a_usage_error(shell: Shell, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        shell.run("findings", *argv)

    assert caught.value.code == 2


def test_people_get_a_table_in_which_no_host_can_write_beside_its_cell(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run("findings") == 0

    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == [column.upper() for column in findings.COLUMNS]
    assert len(out.splitlines()) == 4
    assert "\x1b" not in out


def test_before_the_worker_has_run_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = Shell(tmp_path)
    fresh.init()

    code = fresh.run("findings", "--json")

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert "nothing to read yet" in err
