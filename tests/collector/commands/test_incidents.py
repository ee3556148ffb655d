import json
from pathlib import Path

import pytest

from collector.commands import incidents
from tests.collector.shell import Sealing, Shell, a_detection, lived, until_idle, working


def test_an_incident_stands_once_at_its_newest_revision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = lived(tmp_path)

    codes = shell.run("incidents", "--json"), shell.run("incidents")

    out, err = capsys.readouterr()
    first, *table = out.splitlines()
    row = json.loads(first)
    assert (codes, err) == ((0, 0), "")
    assert (row["status"], row["revision"], row["count"]) == ("closed", 2, 3)
    assert (row["rule"], row["severity"]) == ("host.several-detections", "high")
    assert len(row["body"]["sources"]) == 3
    assert table[0].split() == [column.upper() for column in incidents.COLUMNS]
    assert len(table) == 2


def test_findings_that_do_not_belong_together_make_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too few, too much alike, too far apart, or of different hosts."""
    shell = Shell(tmp_path)
    tenant = shell.init()
    few, alike, apart, other = (Sealing(tenant, f"web-{number}") for number in range(4))
    rules = ("indicator.sha256", "indicator.address", "indicator.file-name")
    shell.append(
        tenant,
        few.seal(a_detection(1, rules[0]), a_detection(2, rules[1])),
        other.seal(a_detection(3, rules[2])),
        alike.seal(*[a_detection(number) for number in range(3)]),
        apart.seal(*[a_detection(1000 * n, rule) for n, rule in enumerate(rules)]),
    )

    with working(shell, tenant) as worked:
        until_idle(worked)
    code = shell.run("incidents", "--json")

    assert (code, capsys.readouterr().out) == (0, "")
