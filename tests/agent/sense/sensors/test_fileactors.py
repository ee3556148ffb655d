"""Whoever changed a file is named when that is sure, marked when it is not, and never guessed."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.fileactors import RACY, READ_MAX, Actors, racy
from agent.sense.sensors.identity import GONE, START_UNKNOWN
from runtime.clock import SystemClock


@pytest.fixture
def actors() -> Iterator[Actors]:
    with HostRoot("/") as host:
        made = Actors(host, SystemClock())
        if not made.of([os.getpid()], 0):
            pytest.skip("process numbers are not the host's own here")
        yield made
        made.close()


def test_a_process_that_was_there_before_the_events_is_named_for_sure(actors: Actors) -> None:
    found = actors.of([os.getpid()], SystemClock().boot_ns())

    process = found[os.getpid()]
    assert process.pid == os.getpid()
    assert RACY not in process.caveats


def test_a_process_that_came_meanwhile_is_marked(actors: Actors) -> None:
    since = SystemClock().boot_ns()
    time.sleep(0.05)
    with subprocess.Popen(["sleep", "60"]) as child:
        found = actors.of([child.pid], since)
        child.kill()

    assert found[child.pid].caveats[-1] == RACY


def test_a_process_that_has_ended_is_a_number_alone(actors: Actors) -> None:
    with subprocess.Popen(["true"]) as child:
        pass

    process = actors.of([child.pid], 0)[child.pid]

    assert process.pid == child.pid
    assert process.caveats == (GONE, START_UNKNOWN)


def test_a_process_is_marked_once(actors: Actors) -> None:
    process = actors.of([os.getpid()], 0)[os.getpid()]

    assert racy(process).caveats.count(RACY) == racy(racy(process)).caveats.count(RACY) == 1


def test_nobody_has_the_number_zero(actors: Actors) -> None:
    assert actors.of([0, 0], 0) == {}


def test_no_more_are_read_at_a_time_than_a_bound(actors: Actors) -> None:
    assert len(actors.of(range(1 << 22, (1 << 22) + 10 * READ_MAX), 0)) == READ_MAX


def test_where_numbers_are_not_the_hosts_own_nobody_is_named(tmp_path: Path) -> None:
    (tmp_path / "proc/1").mkdir(parents=True)
    with HostRoot(tmp_path) as host:
        made = Actors(host, SystemClock())

        assert made.of([1, os.getpid()], 0) == {}
        made.close()


def test_without_a_proc_nobody_is_named(tmp_path: Path) -> None:
    with HostRoot(tmp_path) as host:
        made = Actors(host, SystemClock())

        assert made.of([os.getpid()], 0) == {}
        made.close()
        made.close()
