import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agent.commands.explain import NothingToExplain, decoded
from proto import model
from proto.rows import plain
from tests.agent.machine import Machine
from tests.proto.builders import a_process, an_observation, values_of
from tests.proto.content.builders import EICAR, a_file, a_provenance, some_rows

LINE = (
    "2026-01-01T00:00:00+00:00 host sshd[1]: Failed password for root from 192.0.2.9 port 22 ssh2"
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    lasting = a_provenance(expires=None)
    rows = [(kind, value, lasting) for kind, value, _ in some_rows()]
    (tmp_path / "indicators.vdx").write_bytes(a_file(rows))
    return Machine(tmp_path).with_golden_host()


def explained(
    machine: Machine, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, list[dict[str, str]]]:
    index = str(machine.folder / "indicators.vdx")
    code = machine.run("explain", *words, "--index", index, "--json")
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def outcomes(rows: list[dict[str, str]]) -> set[str]:
    return {row["outcome"] for row in rows}


def test_a_value_is_explained_by_what_the_index_holds(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = explained(machine, capsys, "--kind", "sha256", "--value", EICAR.upper())

    assert code == 3
    assert [row["form"] for row in rows] == [EICAR] * len(rows)
    assert "match" in outcomes(rows)
    assert all(set(row) == {"judge", "value", "form", "outcome", "why"} for row in rows)


def test_an_observation_is_read_as_json(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    observation = an_observation(a_process(sha256=bytes.fromhex(EICAR)))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(plain(observation))))

    code, rows = explained(machine, capsys, "--event", "-")

    assert code == 3
    assert {"match", "finding"} <= outcomes(rows)


def test_a_line_of_a_log_is_explained_as_the_login_it_tells_of(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = explained(machine, capsys, "--login", LINE)

    assert code == 3
    assert {"login.failed", "finding"} <= outcomes(rows)


def test_a_file_is_explained_as_it_lies_there(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Path(machine.paths.host_root) / "opt/kdevtmpfsi"
    bad.parent.mkdir(exist_ok=True)
    bad.write_text("harmless")

    code, rows = explained(machine, capsys, "--file", "/opt/kdevtmpfsi")

    assert code == 3
    assert any(row["form"] == "kdevtmpfsi" and row["outcome"] == "match" for row in rows)


def test_a_process_is_explained_as_it_runs(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.paths = structs.replace(machine.paths, host_root="/")
    machine.configure()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        code, rows = explained(machine, capsys, "--process", str(child.pid))
    finally:
        child.communicate(b"\n")

    assert code == 0
    assert outcomes(rows) <= {"not listed", "no value"}
    assert any(row["value"].startswith("/") for row in rows)


@pytest.mark.parametrize(
    "words",
    [
        ("--process", "4194305"),
        ("--file", "/no/such/file"),
        ("--file", "relative"),
        ("--login", "nothing of the kind"),
    ],
)
def test_what_is_not_there_cannot_be_explained(
    machine: Machine, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert machine.run("explain", *words) == 2
    assert "vedette-agent: " in capsys.readouterr().err


def test_a_value_needs_its_kind(machine: Machine) -> None:
    with pytest.raises(SystemExit) as caught:
        machine.run("explain", "--value", "x")

    assert caught.value.code == 2


def test_without_an_index_nothing_is_listed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    code = machine.run("explain", "--kind", "process_name", "--value", "xmrig", "--json")

    assert code == 0
    assert "release 0 with 0 indicators" in capsys.readouterr().out


@given(values_of(model.Observation))
def test_an_observation_is_read_back_from_what_is_printed(observation: object) -> None:
    assert decoded(json.dumps(plain(observation))) == observation


@given(
    st.text()
    | st.from_type(type(None)).map(json.dumps)
    | st.dictionaries(st.text(), st.text()).map(json.dumps)
)
def test_any_text_is_an_observation_or_refused(text: str) -> None:
    with pytest.raises(NothingToExplain):
        decoded(text)
