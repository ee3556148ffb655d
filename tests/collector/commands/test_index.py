from pathlib import Path

import pytest

from collector.commands import index
from collector.settings import CollectorSettings
from collector.work import projections
from tests.collector.shell import Shell, admitted, dump, lived, until_idle, working


def test_every_projection_can_be_rebuilt_and_no_other_file_can(tmp_path: Path) -> None:
    made = [projection.name for projection in projections(CollectorSettings())]

    assert list(index.PROJECTIONS) == made
    with pytest.raises(SystemExit):
        Shell(tmp_path).run("index", "rebuild", "--projection", "ledger")


@pytest.mark.parametrize("name", index.PROJECTIONS)
def test_a_rebuild_is_asked_for_and_done_by_the_worker_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shell, tenant = lived(tmp_path)
    path = shell.files.projection(tenant, name)
    before, sealed = dump(path), len(admitted(shell, tenant))

    code = shell.run("index", "rebuild", "--projection", name)
    asked = dump(path)
    with working(shell, tenant) as worked:
        until_idle(worked)
        worked.tick()
        until_idle(worked)

    out, err = capsys.readouterr()
    assert (code, out) == (0, "")
    assert f"the worker rebuilds {name}" in err
    assert asked == before == dump(path)
    assert len(admitted(shell, tenant)) == sealed
    assert list(shell.files.directory(tenant).glob("*.rebuild")) == []


def test_a_rebuild_that_nobody_asked_for_does_not_happen(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)
    (shell.files.directory(tenant) / "strange.rebuild").touch()

    with working(shell, tenant) as worked:
        until_idle(worked)
        lags = worked.lags()

    assert {lag.batches for lag in lags.values()} == {0}
    assert (shell.files.directory(tenant) / "strange.rebuild").exists()
