"""What a table is filled from says what could not be read."""

import os
from pathlib import Path

from agent.sense.tables.table import PROBLEMS_MAX, number
from tests.agent.sense.tables.views import looking_at, write


def test_a_file_that_is_needed_is_missed_and_one_that_may_lack_is_not(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert looking.maybe("/none") is None
    assert looking.problems == []
    assert looking.need("/none") is None
    assert len(looking.problems) == 1


def test_what_is_no_file_is_said_even_where_it_may_lack(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    looking = looking_at(tmp_path)

    assert looking.maybe("/fifo") is None
    assert looking.text("/fifo") is None
    assert len(looking.problems) == 1


def test_a_directory_that_lacks_is_empty_and_one_that_is_a_file_is_said(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"b/2": "", "b/10": ""}))
    os.mkfifo(tmp_path / "fifo")

    assert looking.entries("/a") == []
    assert looking.entries("/b") == ["10", "2"]
    assert looking.is_there("/b")
    assert not looking.is_there("/c")
    assert looking.problems == []


def test_the_first_problems_are_kept_and_the_rest_counted(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    for problem in range(50):
        looking.missed(str(problem))

    assert len(looking.problems) == PROBLEMS_MAX
    assert looking.problems[0] == "0"
    assert looking.problems[-1] == f"and {50 - PROBLEMS_MAX + 1} more could not be read"


def test_a_number_is_digits_alone() -> None:
    assert [number(text) for text in ("12", b"12", "", "-1", "1_0", "1" * 20, "\u0663")] == [
        12,
        12,
        None,
        None,
        None,
        None,
        None,
    ]
