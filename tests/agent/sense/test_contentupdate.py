"""The laws of one run of the TUF child, seen from `sense`."""

import os
import select
import time
from pathlib import Path

import pytest

from agent.doorframes import CHUNK_BYTES_MAX, Chunk, Fetch
from agent.sense.contentupdate import (
    FETCHES_MAX,
    Child,
    ContentUpdate,
    UpdatePace,
    spawn_child,
)
from agent.sense.tufclient import Line
from agent.sense.tufframes import Chain, ChainFacts, Job, Refusal, Report
from proto.content.errors import ContentRefused, RefuseReason
from tests.fakes.clock import FakeClock
from tests.fakes.content import ThreadChild, scripted_child

PACE = UpdatePace(total_s_max=100, idle_s_max=10)
NAME = "metadata/timestamp.json"
CHAIN = Chain((), b"t", b"s", b"x", "indicators", b"d")
REPORT = Report(CHAIN, ChainFacts(1, 1, 1, 1, "indicators", 1, 1, 1, bytes(32)), fetched=False)
JOB = Job(
    directory="/nowhere",
    bootstrap=b"",
    online=True,
    now=0,
    chain=None,
    have=b"",
    length_max=1,
    first_id=0,
)


def an_update(clock: FakeClock | None = None) -> ContentUpdate:
    return ContentUpdate(JOB, PACE, clock or FakeClock())


def readable(update: ContentUpdate) -> list[Fetch]:
    """Wait for the child to say something, and take it."""
    select.select(update.descriptors(), (), (), 5)
    return update.on_child_readable()


def ended(update: ContentUpdate) -> Report | ContentRefused:
    until = time.monotonic() + 5
    while update.result is None and time.monotonic() < until:
        readable(update)
        update.tick()
    assert update.result is not None
    return update.result


def reason(update: ContentUpdate) -> RefuseReason:
    result = ended(update)
    assert isinstance(result, ContentRefused)
    return result.reason


def test_a_report_is_the_result_and_nothing_is_left_open() -> None:
    update = an_update()
    update.start(scripted_child(lambda line: line.send(REPORT)))

    assert ended(update) == REPORT
    assert update.descriptors() == ()
    assert update.deadline is None


def test_a_refusal_keeps_its_reason() -> None:
    update = an_update()
    update.start(scripted_child(lambda line: line.send(Refusal(RefuseReason.ROLLBACK, "older"))))

    assert reason(update) is RefuseReason.ROLLBACK


def test_what_the_child_asks_for_goes_out_and_the_answer_goes_in() -> None:
    heard: list[object] = []

    def script(line: Line) -> None:
        line.send(Fetch(5, NAME, 0))
        heard.append(line.receive())
        line.send(REPORT)

    update = an_update()
    update.start(scripted_child(script))

    assert readable(update) == [Fetch(5, NAME, 0)]
    update.feed(Chunk(5, b"data", 4))
    assert ended(update) == REPORT
    assert heard == [Chunk(5, b"data", 4)]


def test_an_answer_that_was_not_asked_for_is_not_passed_on() -> None:
    heard: list[object] = []

    def script(line: Line) -> None:
        line.send(Fetch(5, NAME, 0))
        heard.append(line.receive())
        line.send(REPORT)

    update = an_update()
    update.start(scripted_child(script))
    readable(update)
    update.feed(Chunk(4, b"stale", 5))
    update.feed(Chunk(5, b"right", 5))
    update.feed(Chunk(5, b"again", 5))
    ended(update)

    assert heard == [Chunk(5, b"right", 5)]


def test_the_largest_piece_passes_whole_to_a_slow_child() -> None:
    heard: list[object] = []

    def script(line: Line) -> None:
        line.send(Fetch(1, NAME, 0))
        time.sleep(0.05)
        heard.append(line.receive())
        line.send(REPORT)

    update = an_update()
    update.start(scripted_child(script))
    readable(update)
    update.feed(Chunk(1, bytes(CHUNK_BYTES_MAX), CHUNK_BYTES_MAX))
    until = time.monotonic() + 5
    while update.result is None and time.monotonic() < until:
        update.tick()
        update.on_child_readable()

    assert update.result == REPORT
    assert heard == [Chunk(1, bytes(CHUNK_BYTES_MAX), CHUNK_BYTES_MAX)]


@pytest.mark.parametrize("name", ["../keys", "/etc/shadow", "metadata/../../x", ""])
def test_a_child_may_ask_for_content_alone(name: str) -> None:
    update = an_update()
    update.start(scripted_child(lambda line: line.send(Fetch(1, name, 0))))

    assert reason(update) is RefuseReason.CRASHED


def test_a_child_may_ask_for_one_thing_at_a_time() -> None:
    def script(line: Line) -> None:
        line.send(Fetch(1, NAME, 0))
        line.send(Fetch(2, NAME, 0))

    update = an_update()
    update.start(scripted_child(script))

    assert reason(update) is RefuseReason.CRASHED


def test_a_child_may_ask_so_often_and_no_more() -> None:
    update = an_update()
    update._fetches = FETCHES_MAX  # noqa: SLF001  (asking so often takes too long)
    update.start(scripted_child(lambda line: line.send(Fetch(1, NAME, 0))))

    assert reason(update) is RefuseReason.CRASHED


def test_a_child_that_ends_without_a_word_is_told_from_one_that_refuses() -> None:
    update = an_update()
    update.start(scripted_child(lambda _: None))

    assert reason(update) is RefuseReason.CRASHED


def test_a_child_that_sends_junk_is_ended() -> None:
    def junk(fd: int) -> None:
        os.write(fd, b"\xff" * 100)

    children: list[ThreadChild] = []

    def spawn(stdin: int) -> ThreadChild:
        children.append(ThreadChild(stdin, junk))
        return children[0]

    update = an_update()
    update.start(spawn)

    assert reason(update) is RefuseReason.CRASHED
    assert children[0].kills == 1


def test_a_child_that_cannot_be_started_is_a_refusal_too() -> None:
    def spawn(_stdin: int) -> ThreadChild:
        raise OSError(12, "Cannot allocate memory")

    update = an_update()

    assert update.start(spawn) == ()
    assert reason(update) is RefuseReason.CRASHED


def test_a_run_without_progress_ends_at_its_deadline_and_not_before() -> None:
    clock = FakeClock()
    update = an_update(clock)
    update.start(scripted_child(lambda line: line.receive()))
    assert update.deadline == clock.boot_ns() + 10 * 10**9
    clock.forward(9)
    update.tick()
    assert update.result is None

    clock.forward(2)
    update.tick()

    assert reason(update) is RefuseReason.DEADLINE


def test_progress_moves_the_deadline_up_to_the_end_of_the_run() -> None:
    clock = FakeClock()

    def script(line: Line) -> None:
        for number in range(50):
            line.send(Fetch(number, NAME, 0))
            line.receive()

    update = an_update(clock)
    update.start(scripted_child(script))
    asked = 0
    while update.result is None:
        asked += len(readable(update))
        update.feed(Chunk(asked - 1, b"x", 1))
        clock.forward(9)
        update.tick()

    assert reason(update) is RefuseReason.DEADLINE
    assert 8 <= asked <= 13


def test_stopping_ends_the_child_and_may_be_repeated() -> None:
    update = an_update()
    update.start(scripted_child(lambda line: line.receive()))

    update.stop()
    update.stop("again")

    assert reason(update) is RefuseReason.UNAVAILABLE


def test_the_real_child_gets_no_environment_and_no_descriptor_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("wb") as held:
        held.flush()
        update = an_update()
        children: list[Child] = []

        def spawn(stdin: int) -> Child:
            children.append(spawn_child(stdin))
            return children[0]

        update.start(spawn)
        pid = getattr(children[0], "pid")  # noqa: B009  (the port does not promise one)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        open_files = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        update.stop()

    names = {entry.partition(b"=")[0] for entry in environment.split(b"\0") if entry}
    assert names <= {b"PYTHONPATH", b"LC_ALL", b"PYTHONDONTWRITEBYTECODE"}
    assert not any("secret" in name for name in open_files)
