import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from collector.content.errors import CompilerStopped, RulesUnreadable
from collector.content.sigmachild import (
    Answer,
    _answer,
    answer_for,
    compile_apart,
    read_placeholders,
)
from proto.content.rulesfile import read
from tests.collector.content.rulesources import OWN, a_rule


def test_rules_are_compiled_in_another_process() -> None:
    answer = compile_apart(OWN)

    assert len(read(answer.data).rules) == answer.rules == 3
    assert answer.filters == 1


def test_the_process_that_asks_loads_neither_the_parser_nor_yaml() -> None:
    code = (
        "import sys; from collector.content.sigmachild import compile_apart; "
        "print(sorted({'sigma', 'yaml'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout.strip() == "[]"


def test_nothing_to_compile_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RulesUnreadable) as caught:
        compile_apart(tmp_path)

    assert caught.value.hint


def test_a_file_that_crashes_no_parser_of_ours_is_a_remark(tmp_path: Path) -> None:
    (tmp_path / "bomb.yml").write_text("[" * 100_000)
    (tmp_path / "good.yml").write_text(a_rule("  sel:\n    Image: x"))

    answer = compile_apart(tmp_path)

    assert answer.rules == 1
    assert [remark.file for remark in answer.remarks] == ["bomb.yml"]


def test_values_of_placeholders_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text(a_rule("  sel:\n    User|expand: '%admins%'"))
    (tmp_path / "values.json").write_text('{"admins": ["ann"]}')

    assert answer_for(tmp_path, tmp_path / "values.json").rules == 1
    assert answer_for(tmp_path, tmp_path / "absent.json").error
    assert read_placeholders(tmp_path / "values.json") == {"admins": ["ann"]}


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a": [1]}', " " * 2_000_000])
def test_placeholders_that_are_none_are_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "values.json").write_text(text)

    with pytest.raises(RulesUnreadable):
        read_placeholders(tmp_path / "values.json")


@pytest.mark.parametrize(("said", "code"), [(b"", 0), (b"\xc0", 0), (b"", 1), (b"", -9)])
def test_a_process_that_ends_without_an_answer_has_stopped(said: bytes, code: int) -> None:
    with pytest.raises(CompilerStopped):
        _answer(said, code)


def test_an_answer_is_what_was_said() -> None:
    answer = Answer(error="no rules")

    assert _answer(msgspec.msgpack.encode(answer), 0) == answer
