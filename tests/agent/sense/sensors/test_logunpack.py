"""Compressed rotations are inflated by a worker, one at a time, and given up in bounded time."""

import gzip
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.inspectline import Spawn, WorkerLine, spawn_worker
from agent.sense.inspector import Inspector
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.logset import LogSet, Reading
from agent.sense.sensors.logunpack import Packed, Unpacker
from proto.model import Drop, DropReason
from runtime.clock import NS_PER_S, SystemClock
from tests.fakes.inspection import NO_UNIT, worker_that

WAIT_S = 40
GONE = "a file that was read before is gone, compressed or rewritten"


class Log:
    """A log that waits for compressed rotations."""

    def __init__(self, *paths: str) -> None:
        self.packed = [Packed(path.encode(), 0) for path in paths]
        self.got: list[bytes | None] = []

    def take_unpacked(self, fd: int) -> None:
        self.packed.pop(0)
        self.got.append(None if fd < 0 else os.pread(fd, 1 << 20, 0))
        if fd >= 0:
            os.close(fd)


@pytest.fixture
def unpacking(tmp_path: Path) -> Iterator[Callable[..., Unpacker]]:
    made: list[tuple[Unpacker, Inspector]] = []
    host = HostRoot(tmp_path)

    def make(spawn: Spawn = spawn_worker) -> Unpacker:
        inspector = Inspector(SystemClock(), lambda: WorkerLine(NO_UNIT, spawn))
        made.append((Unpacker(host, inspector), inspector))
        return made[-1][0]

    yield make
    for unpacker, inspector in made:
        unpacker.stop()
        until(inspector.has_ended)
    host.close()


def until(is_over: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_over():
        assert time.monotonic() < end
        select.poll().poll(5)


def served(unpacker: Unpacker, *logs: Log) -> None:
    def is_over() -> bool:
        unpacker.work(logs)
        return not any(log.packed for log in logs)

    until(is_over)


def test_what_files_hold_is_given_in_their_order(
    unpacking: Callable[..., Unpacker], tmp_path: Path
) -> None:
    long = b"".join(b"line %d\n" % n for n in range(20_000))
    (tmp_path / "a.gz").write_bytes(gzip.compress(long))
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"short\n"))
    one, other = Log("/a.gz", "/b.gz"), Log("/b.gz")

    served(unpacking(), one, other)

    assert one.got == [long, b"short\n"]
    assert other.got == [b"short\n"]


@pytest.mark.parametrize("data", [None, b"no gzip", gzip.compress(b"x" * 999)[:-9]])
def test_what_cannot_be_had_is_said(
    unpacking: Callable[..., Unpacker], tmp_path: Path, data: bytes | None
) -> None:
    if data is not None:
        (tmp_path / "a.gz").write_bytes(data)
    log = Log("/a.gz")

    served(unpacking(), log)

    assert log.got == [None]


def test_a_worker_that_does_not_start_fails_what_waits(
    unpacking: Callable[..., Unpacker], tmp_path: Path
) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x"))
    log = Log("/a.gz", "/a.gz")

    served(unpacking(worker_that("")), log)

    assert log.got == [None, None]


def test_a_stop_in_the_middle_leaves_nothing_open(
    unpacking: Callable[..., Unpacker], tmp_path: Path
) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x"))
    unpacker = unpacking()
    before = len(list(Path("/proc/self/fd").iterdir()))
    log = Log("/a.gz")
    unpacker.work([log])

    unpacker.stop()
    unpacker.stop()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert log.got == []
    assert list(unpacker.descriptors()) == []


def test_a_set_of_logs_catches_up_through_a_compressed_rotation(tmp_path: Path) -> None:
    def read(_path: str, line: Line) -> list[Drop]:
        return [Drop(reason=DropReason.OVERFLOW, detail=line.text.decode())]

    def poll() -> list[str]:
        told = logs.poll(clock.boot_ns() + NS_PER_S, Reading(read, 1))
        return [drop.detail for drop in told if isinstance(drop, Drop)]

    clock = SystemClock()
    log = tmp_path / "log"
    log.write_text("a first line that is long enough to know a copy of the log by\n")
    with HostRoot(tmp_path) as host:
        inspector = Inspector(clock, lambda: WorkerLine(NO_UNIT, spawn_worker))
        logs = LogSet("logs", host, clock, 1 << 20, inspector)
        logs.start(["/log"], {})
        poll()
        cursors = logs.cursors()
        logs.stop()
        with log.open("a") as file:
            file.write("while away\n")
        log.rename(tmp_path / "log.1")
        log.write_text("new\n")
        (tmp_path / "log.1.gz").write_bytes(gzip.compress((tmp_path / "log.1").read_bytes()))
        (tmp_path / "log.1").unlink()

        logs.start(["/log"], cursors)
        told: list[str] = []

        def is_over() -> bool:
            told.extend(poll())
            return "new" in told

        until(is_over)
        logs.stop()
        until(inspector.has_ended)

    assert told == ["while away", "new"]
