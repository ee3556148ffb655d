import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands import common
from runtime.settings import BadSettings

HOSTILE = "one\x1b[2Jtwo\nthree\x9bfour\u202efive\udcff"


def args(config: Path | None) -> argparse.Namespace:
    return argparse.Namespace(config=config)


def test_a_file_that_was_named_must_be_there_and_the_usual_one_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "DEFAULT_PATH", str(tmp_path / "none"))

    assert common.settings_of(args(None)).metrics.port == 6613
    with pytest.raises(BadSettings, match="no such file"):
        common.settings_of(args(tmp_path / "none"))


def test_the_environment_counts_as_it_does_for_the_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "DEFAULT_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("VEDETTE__METRICS__PORT", "7")

    assert common.settings_of(args(None)).metrics.port == 7


def test_rows_are_counted_with_and_without_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": 1}, {"a": 2}]

    counts = [common.print_rows(rows, ("a",), as_json=as_json) for as_json in (True, False)]

    out = capsys.readouterr().out
    assert counts == [2, 2]
    assert out == '{"a": 1}\n{"a": 2}\nA\n1\n2\n'
    assert common.print_rows([], ("a",), as_json=False) == 0


@given(st.text(max_size=80) | st.just(HOSTILE))
def test_no_host_text_makes_a_second_row(text: str) -> None:
    for as_json in (True, False):
        with pytest.MonkeyPatch.context() as patched:
            written: list[str] = []
            patched.setattr("sys.stdout", argparse.Namespace(write=written.append))
            common.print_rows([{"a": text, "b": 1}], ("a", "b"), as_json=as_json)
        assert len(written) == (1 if as_json else 2)
        assert all(line.endswith("\n") and line[:-1].isprintable() for line in written)


def test_json_is_an_option_and_not_the_default() -> None:
    parser = argparse.ArgumentParser()

    common.add_json(parser)

    assert parser.parse_args([]).json is False
    assert parser.parse_args(["--json"]).json is True


def test_what_is_no_result_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    common.say("told")

    assert capsys.readouterr() == ("", "told\n")


def test_what_is_told_on_the_side_stays_one_line_without_commands_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    common.say(HOSTILE)

    told = capsys.readouterr().err
    assert told.endswith("\n")
    assert told[:-1].isprintable()
