import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agent import __version__
from agent.cli import COMMANDS, DONE_WITHOUT, main, parser
from tests.agent.machine import Machine

HOSTILE = "one\x1b[2Jtwo\nthree\x9bfour\u202efive"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_its_own_parser_takes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])

    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    # More may stand below it, as the tables of `ls` do.
    example = out.partition("example: ")[2].partition("\n\n")[0]
    program, *words = shlex.split(example)
    assert (program, words[0]) == ("vedette-agent", command)
    assert parser(command).parse_args(words).command == command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_configuration_file(command: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--config"])

    assert caught.value.code == 2


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    out = capsys.readouterr().out
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("    ")}
    assert caught.value.code == 0
    assert listed >= set(COMMANDS)
    assert "example: vedette-agent " in out


def test_the_version_is_the_agents(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"vedette-agent {__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["scan", "--nonsense"],
        ["run", "more"],
        ["sense", "more"],
        ["ship", "--config"],
        ["ls"],
        ["ls", "secrets"],
        ["config"],
        ["outbox", "empty"],
        ["match", "ipv4", "192.0.2.1"],
        ["match", "--index", "x", "nonsense", "192.0.2.1"],
        ["enroll"],
    ],
    ids=" ".join,
)
def test_words_that_mean_nothing_are_a_usage_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)

    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert (out, "usage: vedette-agent" in err) == ("", True)


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"tuf", "match", "enroll", "inspect"}))
def test_a_bad_key_ends_every_command_that_reads_it_with_exit_4(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, "[uplink]\nwindow_batches_max = 0\n")
    words = {
        "ls": ["processes"],
        "outbox": ["ls"],
        "config": ["check"],
        "explain": ["--process", "1"],
    }.get(command, [])

    code = machine.run(command, *words)

    out, err = capsys.readouterr()
    assert (code, out) == (4, "")
    assert err.startswith(
        f"vedette-agent: {machine.config}: uplink.window_batches_max = 0: Expected `int` >= 1"
    )


def test_a_hint_stands_below_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path, "[uplink]\nwindow_batch_max = 1\n")

    machine.run("config", "check")

    assert capsys.readouterr().err.splitlines()[1:] == ["  did you mean window_batches_max?"]


@pytest.mark.parametrize("command", ["run", "sense", "ship", "status"])
def test_a_host_that_is_not_enrolled_is_exit_6_with_the_next_step(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = a_child(Machine(tmp_path), command)

    assert (done.returncode, done.stdout) == (6, "")
    assert "vedette-agent: no usable identity in" in done.stderr
    assert "vedette-agent enroll" in done.stderr


def test_an_error_of_the_machine_is_one_line_and_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.vdx"

    code = main(["match", "--index", str(missing), "ipv4", "192.0.2.1"])

    assert code == 1
    assert capsys.readouterr() == (
        "",
        f"vedette-agent: {missing}: No such file or directory\n",
    )


def test_text_of_others_in_an_error_cannot_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["match", "--index", str(tmp_path / HOSTILE), "ipv4", "192.0.2.1"])

    err = capsys.readouterr().err
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    assert err.startswith("vedette-agent: ")


def test_a_daemon_started_as_usual_does_not_read_options_it_has_not() -> None:
    code = (
        "import sys; from agent import cli;"
        "print(cli._plain(['sense']).config, cli._plain(['ship', '--config', 'a']).config,"
        "cli._plain(['sense', '--config', '-a']), cli._plain(['run']), 'argparse' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, check=True, text=True, timeout=30
    )

    assert done.stdout.split() == ["None", "a", "None", "None", "False"]
    assert set(DONE_WITHOUT) <= set(COMMANDS)


def a_child(
    machine: Machine, *argv: str, stdout: int = subprocess.PIPE
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "agent", *argv, "--config", str(machine.config)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
        timeout=30,
    )


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = a_child(Machine(tmp_path), "config", "show", stdout=writing)

    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = a_child(Machine(tmp_path), "config", "show", stdout=full.fileno())

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_word_decides_which_command_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file may have the name of another command."""
    code = main(["match", "--index", str(tmp_path / "x"), "process_name", "scan"])

    assert code == 1
