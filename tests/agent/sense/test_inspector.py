"""The laws of asking: whatever a worker does, each request has one end, in bounded time."""

import gzip
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.errors import FailReason, InspectionFailed
from agent.inspectframes import CHUNK_BYTES, Data, Done, Failed, Gunzip, encode
from agent.sense import inspector as module
from agent.sense.inspectline import Child, Spawn, WorkerLine, spawn_worker
from agent.sense.inspector import IDLE_S_MAX, QUEUE_MAX, Found, Inspector, Ticket
from runtime.clock import Clock, SystemClock
from tests.fakes.clock import FakeClock
from tests.fakes.inspection import HANG, NO_UNIT, READY, THE_END, WAIT, a_piece, worker_that

LINES = b"".join(b"line %d of a log\n" % number for number in range(20_000))
FULL = bytes(CHUNK_BYTES)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "log.gz").write_bytes(gzip.compress(LINES, 1))
    fd = os.open(tmp_path / "log.gz", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def asking() -> Iterator[Callable[..., Inspector]]:
    made: list[Inspector] = []

    def make(spawn: Spawn = spawn_worker, clock: Clock | None = None) -> Inspector:
        made.append(Inspector(clock or SystemClock(), lambda: WorkerLine(NO_UNIT, spawn)))
        return made[-1]

    yield make
    for inspector in made:
        inspector.stop()
        while not inspector.has_ended():
            select.poll().poll(5)


def until_the_end(inspector: Inspector, count: int = 1) -> list[Found]:
    """Poll as a loop does until so many requests have ended."""
    found: list[Found] = []
    for _ in range(5000):
        found += inspector.poll()
        if sum(not isinstance(one.answer, Data) for one in found) >= count:
            return found
        wait(inspector)
    raise AssertionError("a request never ends")


def wait(inspector: Inspector) -> None:
    poll = select.poll()
    for fd in inspector.descriptors():
        poll.register(fd, select.POLLIN)
    poll.poll(20)


def one_then_real(first: Spawn) -> Spawn:
    """Return what starts one worker, and real ones after that."""
    spawns = iter([first])

    def spawn(stdin: int) -> Child:
        return next(spawns, spawn_worker)(stdin)

    return spawn


def data_of(found: list[Found], ticket: Ticket) -> bytes:
    return b"".join(
        one.answer.data for one in found if one.ticket == ticket and isinstance(one.answer, Data)
    )


def failure_of(found: list[Found]) -> FailReason:
    (last,) = [one.answer for one in found if not isinstance(one.answer, Data)]
    assert isinstance(last, InspectionFailed)
    return last.reason


def test_files_are_read_one_after_another_by_one_worker(
    asking: Callable[..., Inspector], log: int
) -> None:
    inspector = asking()
    idle = (inspector.descriptors(), inspector.due())

    tickets = [inspector.submit(Gunzip(offset=at), log) for at in (0, 7, len(LINES))]
    found = until_the_end(inspector, 3)

    assert idle == ((), None)
    assert [data_of(found, ticket) for ticket in tickets] == [LINES, LINES[7:], b""]
    assert found[-1] == Found(tickets[-1], Done(is_end=True))


def test_the_descriptor_stays_the_callers(
    asking: Callable[..., Inspector], log: int, tmp_path: Path
) -> None:
    inspector = asking()
    own = os.open(tmp_path / "log.gz", os.O_RDONLY)

    ticket = inspector.submit(Gunzip(), own)
    os.close(own)

    assert data_of(until_the_end(inspector), ticket) == LINES


def test_no_more_is_told_at_once_than_is_asked_for_and_the_rest_waits(
    asking: Callable[..., Inspector], log: int
) -> None:
    inspector = asking()
    ticket = inspector.submit(Gunzip(), log)
    found: list[Found] = []

    while not any(isinstance(one.answer, Done) for one in found):
        new = inspector.poll(2)
        assert len(new) <= 2
        found += new
        if not new:
            wait(inspector)

    assert data_of(found, ticket) == LINES


def test_an_idle_worker_is_ended_and_the_next_request_starts_another(
    asking: Callable[..., Inspector], log: int
) -> None:
    clock = FakeClock()
    inspector = asking(clock=clock)
    inspector.submit(Gunzip(), log)
    until_the_end(inspector)
    was_there = bool(inspector.descriptors())

    clock.forward(IDLE_S_MAX)
    inspector.poll()
    is_there = bool(inspector.descriptors())
    ticket = inspector.submit(Gunzip(), log)
    found = until_the_end(inspector)

    assert (was_there, is_there) == (True, False)
    assert data_of(found, ticket) == LINES


def test_a_worker_that_hangs_is_killed_at_its_deadline_and_the_next_request_answered(
    asking: Callable[..., Inspector], log: int
) -> None:
    first = worker_that(READY, WAIT, a_piece(0, FULL), HANG)
    clock = FakeClock()
    inspector = asking(one_then_real(first), clock)
    ticket = inspector.submit(Gunzip(deadline_ms=5000), log)
    while not inspector.poll():
        wait(inspector)
    clock.forward(4.9)
    early = inspector.poll()
    due = inspector.due()

    clock.forward(0.2)
    late = inspector.poll()
    again = inspector.submit(Gunzip(), log)
    found = until_the_end(inspector)

    assert early == []
    assert due is not None
    assert due < clock.boot_ns()
    assert late[0].ticket == ticket
    assert failure_of(late) is FailReason.DEADLINE
    assert first.started[0].wait(20) == -signal.SIGKILL
    assert data_of(found, again) == LINES


def test_a_real_worker_that_stops_is_killed_at_its_deadline(
    asking: Callable[..., Inspector], log: int
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def spawn(stdin: int) -> Child:
        child = spawn_worker(stdin)
        assert isinstance(child, subprocess.Popen)
        children.append(child)
        return child

    inspector = asking(spawn)
    inspector.submit(Gunzip(offset=len(LINES)), log)
    until_the_end(inspector)
    os.kill(children[0].pid, signal.SIGSTOP)

    inspector.submit(Gunzip(deadline_ms=300), log)
    found = until_the_end(inspector)

    assert failure_of(found) is FailReason.DEADLINE
    assert children[0].wait(20) == -signal.SIGKILL


def test_a_worker_that_never_starts_fails_what_waits_for_it(
    asking: Callable[..., Inspector], log: int
) -> None:
    clock = FakeClock()
    inspector = asking(worker_that(HANG), clock)
    tickets = [inspector.submit(Gunzip(), log) for _ in range(3)]
    assert inspector.poll() == []

    clock.forward(module.START_S_MAX)
    found = inspector.poll()

    assert [one.ticket for one in found] == tickets


@pytest.mark.parametrize(
    "acts",
    [
        (b"\xc1 garbage",),
        (READY, READY),
        (READY, WAIT, READY),
        (READY, WAIT, a_piece(5, b"not the next")),
        (READY, WAIT, a_piece(0, b"short"), a_piece(5, b"and more")),
        (READY, WAIT, a_piece(0, FULL), a_piece(CHUNK_BYTES, FULL)),
        (READY, WAIT, b"\xc1 garbage"),
        (encode(Failed(FailReason.CORRUPT, "before its turn")),),
    ],
)
def test_a_worker_that_answers_garbage_is_killed(
    asking: Callable[..., Inspector], log: int, acts: tuple[bytes | str, ...]
) -> None:
    spawn = worker_that(*acts, HANG)
    inspector = asking(spawn)
    inspector.submit(Gunzip(size_bytes_max=CHUNK_BYTES + 100), log)

    found = until_the_end(inspector)

    assert failure_of(found) is FailReason.GARBAGE
    assert spawn.started[0].wait(20) == -signal.SIGKILL


def test_a_worker_that_ends_fails_its_request(asking: Callable[..., Inspector], log: int) -> None:
    inspector = asking(worker_that(READY, WAIT))
    inspector.submit(Gunzip(), log)

    assert failure_of(until_the_end(inspector)) is FailReason.GONE


def test_the_words_of_a_worker_cannot_move_a_cursor(
    asking: Callable[..., Inspector], log: int
) -> None:
    words = encode(Failed(FailReason.CORRUPT, "a\x1b[2Jb"))
    inspector = asking(worker_that(READY, WAIT, words, HANG))
    inspector.submit(Gunzip(), log)

    (found,) = until_the_end(inspector)

    assert isinstance(found.answer, InspectionFailed)
    assert found.answer.message.isprintable()


def test_without_a_filter_inspection_is_off_and_that_is_said(
    asking: Callable[..., Inspector], log: int
) -> None:
    off = encode(Failed(FailReason.OFF, "seccomp: Function not implemented"))
    inspector = asking(worker_that(off))
    inspector.submit(Gunzip(), log)
    inspector.submit(Gunzip(), log)

    found = until_the_end(inspector, 2)

    assert [failure_of([one]) for one in found] == [FailReason.OFF] * 2
    assert inspector.off_reason == "inspection is off: seccomp: Function not implemented"
    with pytest.raises(InspectionFailed):
        inspector.submit(Gunzip(), log)


def test_no_more_waits_than_there_is_room_for(asking: Callable[..., Inspector], log: int) -> None:
    inspector = asking()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(QUEUE_MAX):
        inspector.submit(Gunzip(), log)

    with pytest.raises(InspectionFailed) as failed:
        inspector.submit(Gunzip(), log)
    inspector.stop()

    assert failed.value.reason is FailReason.BUSY
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_what_is_cancelled_is_not_told_of(asking: Callable[..., Inspector], log: int) -> None:
    inspector = asking(one_then_real(worker_that(READY, WAIT, a_piece(0, FULL), HANG)))
    first, second, third = (inspector.submit(Gunzip(), log) for _ in range(3))
    while not inspector.poll():
        wait(inspector)

    inspector.cancel(second)
    inspector.cancel(first)
    found = until_the_end(inspector)

    assert {one.ticket for one in found} == {third}
    assert data_of(found, third) == LINES


def test_a_closed_descriptor_is_refused_at_once(asking: Callable[..., Inspector]) -> None:
    with pytest.raises(InspectionFailed) as failed:
        asking().submit(Gunzip(), 999)

    assert failed.value.reason is FailReason.UNREADABLE


def test_a_worker_of_the_unit_reads_what_it_is_handed(log: int, tmp_path: Path) -> None:
    path = tmp_path / "inspect.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        inspector = Inspector(SystemClock(), lambda: WorkerLine(path))
        ticket = inspector.submit(Gunzip(), log)
        before = inspector.poll()
        with listener.accept()[0] as connection:
            worker = spawn_worker(connection.fileno())
        found = until_the_end(inspector)

    inspector.stop()
    while worker.poll() is None:
        select.poll().poll(5)
    assert before == []
    assert data_of(found, ticket) == LINES
    assert inspector.has_ended()
    assert worker.poll() == 0


def test_an_honest_end_needs_no_data(asking: Callable[..., Inspector], log: int) -> None:
    inspector = asking(worker_that(READY, WAIT, THE_END, HANG))
    ticket = inspector.submit(Gunzip(), log)

    assert until_the_end(inspector) == [Found(ticket, Done(is_end=True))]
