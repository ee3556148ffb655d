import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from collector import __version__
from collector.cli import COMMANDS, main, parser
from tests.collector.shell import Shell


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_its_own_parser_takes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])

    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    example = out.partition("example: ")[2].strip()
    program, *words = shlex.split(example.partition(" >")[0])
    assert program == "vedette-collector"
    assert words[0] == command
    assert parser(command).parse_args(_filled(words)).command == command


def _filled(words: list[str]) -> list[str]:
    """An example with its placeholder for an id filled in."""
    return ["01234567-89ab-8def-8123-456789abcdef" if word == "UID" else word for word in words]


def test_every_command_takes_a_configuration_file() -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            parser(command).parse_args([command, "--config"])


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert "example: vedette-collector " in out
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("    ")}
    assert listed >= set(COMMANDS)


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["findings", "--nonsense"], ["run", "more"]])
def test_words_that_mean_nothing_are_a_usage_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)

    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert (out, "usage: vedette-collector" in err) == ("", True)


def test_an_error_of_ours_is_told_with_its_hint_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.configure("[feeds]\nintervals = 1")

    code = shell.run("config", "check")

    out, err = capsys.readouterr()
    assert (code, out) == (4, "")
    assert err.startswith(f"vedette-collector: {shell.config}: feeds.intervals")
    assert err.splitlines()[1] == "  did you mean interval_s?"


def test_an_error_of_the_machine_is_one_line_and_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.offline.write_text("in the way")

    code = shell.run("init", "--tenant", "acme", "--offline-keys", str(shell.offline))

    err = capsys.readouterr().err
    assert code == 1
    assert err == f"vedette-collector: {shell.offline}: File exists\n"


def a_child(shell: Shell, *argv: str) -> list[str]:
    return [sys.executable, "-m", "collector", *argv, "--config", str(shell.config)]


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """Little output meets the closed pipe only when it is flushed at the very end."""
    shell = Shell(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        a_child(shell, "config", "show"),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )

    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            a_child(Shell(tmp_path), "config", "show"),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"vedette-collector {__version__}\n"
