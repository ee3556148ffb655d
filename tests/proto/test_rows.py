import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.rows import CELL_CHARS_MAX, finding_row, lines, plain
from tests.proto.builders import a_finding, a_process

ROWS: list[dict[str, object]] = [{"a": 1, "b": "two"}, {"a": 333, "b": None, "c": "not shown"}]


def test_a_table_has_a_heading_and_aligned_columns() -> None:
    assert list(lines(ROWS, ("a", "b"), as_json=False)) == ["A    B", "1    two", "333"]
    assert list(lines([], ("a",), as_json=False)) == ["A"]


def test_json_lines_hold_every_field() -> None:
    assert [json.loads(line) for line in lines(ROWS, ("a",), as_json=True)] == ROWS


@given(st.text(max_size=100))
def test_no_host_text_ends_a_line_or_moves_the_cursor(text: str) -> None:
    for as_json in (True, False):
        for line in lines([{"a": text}], ("a",), as_json=as_json):
            assert line.isprintable()
    assert all(len(line) <= CELL_CHARS_MAX for line in lines([{"a": text}], ("a",), as_json=False))


@pytest.mark.parametrize(
    "name",
    ["uid", "kind", "severity", "title", "rule", "source", "coverage", "observed_at"],
)
def test_the_fields_scripts_depend_on_are_there(name: str) -> None:
    assert finding_row(a_finding())[name]


def test_what_was_not_collected_is_absent_and_what_is_empty_is_null() -> None:
    row = plain(a_process(tty=None))

    assert row["tty"] is None
    assert "cwd" not in row
    assert row["boot_id"] == "00" * 16
