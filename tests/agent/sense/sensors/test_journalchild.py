"""The reader is started with constant arguments and nothing of ours, and never waited for."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.journalchild import (
    READ_BYTES,
    JournalChild,
    Wanted,
    arguments_of,
    is_cursor,
    program,
)

CURSOR = f"s={'a' * 32};i=1f;b={'b' * 32};m=1;t=1;x=ffff"
WAIT_S = 20


def run(tmp_path: Path, script: str) -> JournalChild:
    path = tmp_path / "reader"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return JournalChild([str(path)])


def read_all(child: JournalChild) -> bytes:
    data, until = b"", time.monotonic() + WAIT_S
    while not child.has_ended and time.monotonic() < until:
        data += child.read()
        time.sleep(0.002)
    assert child.has_ended
    return data


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[JournalChild]:
    child = run(tmp_path, "echo begun; exec sleep 1000")
    yield child
    child.end()


def test_reading_never_waits(sleeper: JournalChild) -> None:
    until = time.monotonic() + WAIT_S
    while not (first := sleeper.read()) and time.monotonic() < until:
        time.sleep(0.002)
    began = time.monotonic()

    assert first == b"begun\n"
    assert sleeper.read() == b""
    assert time.monotonic() - began < 1
    assert len(sleeper.descriptors()) == 2


def test_a_child_that_runs_is_killed_by_its_pid_and_reaped(sleeper: JournalChild) -> None:
    said = sleeper.end()

    assert said == "the reader of the journal ended with status -9"
    assert sleeper.end() == said
    assert sleeper.descriptors() == ()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_how_it_ended_is_said_with_its_last_words(tmp_path: Path) -> None:
    child = run(tmp_path, "echo out; echo 'no  right' >&2; exit 3")

    assert read_all(child) == b"out\n"
    assert child.end() == "the reader of the journal ended with status 3, saying: no right"


def test_endless_complaints_neither_stop_it_nor_fill_our_memory(tmp_path: Path) -> None:
    child = run(tmp_path, "head -c 1000000 /dev/zero | tr '\\0' e >&2; echo done")

    assert read_all(child) == b"done\n"
    assert child.complaint == "e" * 200
    child.end()


def test_an_end_that_it_closed_wakes_nobody(tmp_path: Path) -> None:
    child = run(tmp_path, "exec 2>&-; echo begun; exec sleep 1000")
    until = time.monotonic() + WAIT_S
    while not child.read() and time.monotonic() < until:
        time.sleep(0.002)
    child.read()

    assert len(child.descriptors()) == 1
    child.end()


def test_it_gets_no_environment_and_no_descriptor_of_ours(tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    os.environ["SECRET"] = "x"
    try:
        child = run(tmp_path, "env; ls /proc/self/fd; grep CapAmb /proc/self/status; pwd")
        said = read_all(child).decode()
        child.end()
    finally:
        os.close(secret)
        del os.environ["SECRET"]

    assert "SECRET" not in said
    assert f"\n{secret}\n" not in said or secret <= 3
    assert said.endswith("/\n")


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        JournalChild([str(tmp_path / "none")])


def test_arguments_differ_by_the_place_to_begin_at_alone() -> None:
    first = arguments_of("/j", Wanted(("A", "B"), history_entries=5))
    again = arguments_of("/j", Wanted(("A", "B"), CURSOR, directory="/host/var/log/journal"))

    assert first == [
        "/j",
        "--follow",
        "--no-pager",
        "--all",
        "--boot=all",
        "--output=export",
        "--output-fields=A,B",
        "--lines=5",
    ]
    assert again[:-3] == first[:-1]
    assert again[-3:] == ["--directory=/host/var/log/journal", "--no-tail", f"--cursor={CURSOR}"]


@pytest.mark.parametrize("cursor", ["", "x", "s=1", "--vacuum-size=1", CURSOR + "\n", "s=1;" * 99])
def test_what_is_no_cursor_is_no_argument(cursor: str) -> None:
    assert not is_cursor(cursor)
    assert arguments_of("/j", Wanted(("A",), cursor))[-1] == "--lines=0"
    assert is_cursor(CURSOR)


@given(st.text(max_size=80))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    assert not is_cursor(text) or not set(text) - set("abcdefghijklmnopqrstuvwxyz0123456789=;")


def test_the_program_is_the_systems_own() -> None:
    assert program() in {"", "/usr/bin/journalctl", "/bin/journalctl"}
    assert READ_BYTES >= 4096
