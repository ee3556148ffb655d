import gzip
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import FailReason, InspectionFailed
from agent.inspectframes import Answer, Data, Done, Gunzip, Ready
from agent.sense.inspectline import Child, WorkerLine, spawn_worker
from tests.agent.sense.sensors.driving import no_more_descriptors
from tests.fakes.inspection import HANG, NO_UNIT, READY, worker_that


def next_of(line: WorkerLine) -> Answer:
    poll = select.poll()
    poll.register(line.fileno(), select.POLLIN)
    assert poll.poll(30_000)
    answer = line.hear()
    assert answer is not None
    return answer


def ended(line: WorkerLine) -> None:
    line.end()
    while not line.has_ended():
        select.poll().poll(5)


def test_a_worker_of_our_own_reads_the_file_it_is_handed(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"one\n"))
    line = WorkerLine(NO_UNIT, spawn_worker)

    ready = next_of(line)
    fd = os.open(path, os.O_RDONLY)
    line.ask(Gunzip(), fd)
    os.close(fd)
    told = [next_of(line), next_of(line)]

    ended(line)
    assert ready == Ready(1)
    assert told == [Data(0, b"one\n"), Done(is_end=True)]


Unit = tuple[WorkerLine, socket.socket]


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    """A line to the socket of a unit, and the end that a worker would have."""
    path = tmp_path / "inspect.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        spawn = worker_that(HANG)
        line = WorkerLine(path, spawn)
        theirs, _ = listener.accept()
    with theirs:
        yield line, theirs
    line.end()
    assert line.has_ended()
    assert spawn.started == []


def test_where_the_unit_is_its_socket_is_used_and_no_child_started(unit: Unit) -> None:
    line, theirs = unit

    theirs.send(READY)

    assert next_of(line) == Ready(1)


def test_nothing_said_is_nothing_and_no_wait() -> None:
    line = WorkerLine(NO_UNIT, worker_that(HANG))

    assert line.hear() is None
    ended(line)


def test_a_worker_that_hangs_is_killed() -> None:
    spawn = worker_that(HANG)
    line = WorkerLine(NO_UNIT, spawn)

    ended(line)

    assert spawn.started[0].returncode == -9


def test_a_worker_that_ends_has_gone() -> None:
    line = WorkerLine(NO_UNIT, worker_that(READY))
    next_of(line)

    with pytest.raises(InspectionFailed) as failed:
        next_of(line)

    ended(line)
    assert failed.value.reason is FailReason.GONE


@pytest.mark.parametrize("garbage", [b"\xc1", b"x" * 70_000])
def test_what_no_worker_says_is_refused(unit: Unit, garbage: bytes) -> None:
    line, theirs = unit

    theirs.send(garbage)
    with pytest.raises(InspectionFailed) as failed:
        line.hear()

    assert failed.value.reason is FailReason.GARBAGE


def test_a_descriptor_that_a_worker_sends_is_never_taken(unit: Unit) -> None:
    line, theirs = unit
    before = set(Path("/proc/self/fd").iterdir())

    socket.send_fds(theirs, [READY], [theirs.fileno()] * 3)
    answer = line.hear()

    assert answer == Ready(1)
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_without_a_descriptor_left_there_is_no_worker_and_no_crash() -> None:
    with no_more_descriptors(), pytest.raises(InspectionFailed) as failed:
        WorkerLine(NO_UNIT, spawn_worker)

    assert failed.value.reason is FailReason.GONE


def test_a_worker_that_cannot_be_started_is_said() -> None:
    def spawn(_stdin: int) -> Child:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(InspectionFailed) as failed:
        WorkerLine(NO_UNIT, spawn)

    assert failed.value.reason is FailReason.GONE
