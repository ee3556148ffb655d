import argparse
import json
from pathlib import Path

import pytest

from agent.commands import ls
from agent.sense.listing import TABLES
from tests.agent.machine import Machine
from tests.agent.sense.sensors.hosts import a_process_dir, a_stat

HOSTILE = "a\x1b[2Jb\nc\u202ed"


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_json_lines_of_its_columns(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()

    code = machine.run("ls", table, "--json")

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert rows
    assert all(set(row) <= set(TABLES[table].columns) for row in rows)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_for_people_has_one_line_a_row_under_a_heading(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).with_golden_host()
    machine.run("ls", table, "--json")
    count = len(capsys.readouterr().out.splitlines())

    machine.run("ls", table)

    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == [column.upper() for column in TABLES[table].columns]
    assert len(lines) == count


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
