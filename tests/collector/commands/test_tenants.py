import json
from pathlib import Path

import pytest

from collector.commands import tenants
from tests.collector.shell import Shell


def test_every_tenant_is_listed_with_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    ids = {"acme": str(shell.init("acme")), "globex": str(shell.add_tenant("globex"))}

    with shell.issuing():
        codes = shell.run("tenants", "--json"), shell.run("tenants")

    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()[:2]]
    assert (codes, err) == ((0, 0), "")
    assert {row["name"]: row["id"] for row in rows} == ids
    assert out.splitlines()[2].split() == ["NAME", "ID"]
    assert len(out.splitlines()) == 5


def test_without_an_issuer_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path)
    shell.init()

    code = shell.run("tenants")

    out, err = capsys.readouterr()
    assert (code, out) == (5, "")
    assert "vedette-collector run" in err
    assert tenants.__doc__
