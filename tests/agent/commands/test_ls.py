import argparse
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import main
from agent.commands import ls
from agent.sense.listing import TABLES
from agent.sense.tables.table import Row
from tests.agent.machine import Machine
from tests.agent.sense.sensors.hosts import a_process_dir, a_stat

HOSTILE = "a\x1b[2Jb\nc\u202ed"


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_json_lines_of_its_columns(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()

    code = machine.run("ls", table, "--json")

    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert all(set(row) <= set(TABLES[table].columns) for row in rows)
    assert code == (1 if err and not rows else 0)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_for_people_has_one_line_a_row_under_a_heading_and_fits(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.run("ls", table, "--json")
    count = len(capsys.readouterr().out.splitlines())

    machine.run("ls", table)

    heading, *lines = capsys.readouterr().out.splitlines()
    columns = TABLES[table].shown or tuple(TABLES[table].columns)
    assert heading.split() == [column.upper() for column in columns]
    assert len(lines) == count
    assert all(len(line) <= ls.WIDTH_MAX for line in lines)


def test_what_could_not_be_read_is_told_beside_the_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    root = Path(machine.paths.host_root)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")

    some = machine.run("ls", "resolver", "--json")
    some_out, some_err = capsys.readouterr()
    (root / "etc/hosts").unlink()
    none = machine.run("ls", "resolver", "--json")

    assert (some, len(some_out.splitlines()), len(some_err.splitlines())) == (0, 1, 2)
    assert "/etc/resolv.conf" in some_err
    assert (none, capsys.readouterr().out) == (1, "")


def test_nothing_of_a_kind_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()

    assert machine.run("ls", "certificates", "--json") == 0
    assert capsys.readouterr() == ("", "")


def test_the_columns_of_a_table_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Machine(tmp_path).run("ls", "mounts", "--columns", "--json")

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["column"]: row["meaning"] for row in rows} == TABLES["mounts"].columns


def test_the_help_names_every_table_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ls", "--help"])

    lines = capsys.readouterr().out.splitlines()
    for name, table in TABLES.items():
        assert any(line.split() == [name, *table.text.split()] for line in lines)
    assert all(len(line) <= ls.WIDTH_MAX for line in lines)


@given(
    st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.lists(st.text()), "c": st.none()})),
    st.integers(20, 120),
)
def test_cells_of_any_text_fit(listed: list[Row], width: int) -> None:
    for row in ls.fitted(listed, ("a", "b", "c"), width):
        assert sum(len(str(cell)) for cell in row.values()) <= width


def test_a_hostile_name_cannot_break_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    root = Path(machine.paths.host_root)
    a_process_dir(root, 4711, stat=a_stat(4711, HOSTILE), cmdline=f"{HOSTILE}\0{HOSTILE}")

    machine.run("ls", "processes")
    table = capsys.readouterr().out
    machine.run("ls", "processes", "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert all(line.isprintable() for line in table.split("\n"))
    assert {row["pid"]: row for row in rows}[4711]["argv"] == [HOSTILE, HOSTILE]


def test_a_host_that_cannot_be_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = Machine(tmp_path).run("ls", "processes")

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert "no such file or directory" in err


def test_the_tables_to_choose_from_are_those_there_are() -> None:
    parser = argparse.ArgumentParser()

    ls.add_arguments(parser)

    assert [parser.parse_args([name]).table for name in TABLES] == list(TABLES)


@pytest.mark.parametrize("form", [["--json"], []])
def test_no_secret_in_arguments_is_listed(
    form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    argv = b"mysql\0-phunter2secret\0--token\0hunter2secret\0"
    a_process_dir(Path(machine.paths.host_root), 77, stat=a_stat(77), cmdline=argv)
    crontab = Path(machine.paths.host_root) / "etc/crontab"
    crontab.write_text("1 * * * * root curl -u bob:hunter2secret https://example.org/\n")

    for table in ("processes", "persistence"):
        machine.run("ls", table, *form)

    out = capsys.readouterr().out
    assert "<redacted:" in out
    assert "hunter2" not in out
