"""Nobody overtakes, few files are held, none for long, and what was not hashed is said."""

import hashlib
import os
from pathlib import Path

from msgspec import UNSET, structs

from agent.sense.sensors.hashqueue import (
    HELD_S_MAX,
    OVER_BUDGET,
    QUEUE_FULL,
    RACY,
    TOO_SLOW,
    HashQueue,
    Seen,
    Shot,
)
from agent.sense.sensors.imagehash import CHANGED, REMOTE, SLICE_BYTES, ImageHashes
from agent.sense.sensors.images import Image
from agent.syscalls import facts_here, facts_of
from proto.model import ObservationKind, Precision, Process
from tests.fakes.clock import FakeClock

LATE = 1 << 62  # every file is older


class AQueue:
    """A queue, and the pids that are said to run what they were seen to run."""

    def __init__(self, *, images_max: int = 8) -> None:
        self.clock = FakeClock()
        self.clock.wall = LATE
        self.running: set[int] = set()
        hashes = ImageHashes(self.clock, size_bytes_max=1 << 30, entries_max=64)
        self.queue = HashQueue(hashes, images_max, self.clock, lambda pid, _: pid in self.running)

    def push(self, pid: int, path: Path | None = None, at: int = LATE) -> Seen:
        shot = self.queue.submit(an_image(path), pid) if path else None
        seen = a_seen(pid, at)
        seen.shot = shot
        self.queue.push(seen)
        return seen

    def told(self) -> list[Process]:
        told = []
        while len(self.queue):
            self.queue.step()
            while seen := self.queue.ready():
                told.append(seen.process)
        return told


def an_image(path: Path, *, is_readable: bool = False) -> Image:
    if is_readable:
        fd = os.open(path, os.O_RDONLY)
        return Image(fd, facts_here(fd), is_remote=False, is_readable=True)
    fd = os.open(path, os.O_PATH)
    return Image(fd=fd, facts=facts_of(fd), is_remote=False)


def a_seen(pid: int, at: int = LATE) -> Seen:
    process = Process(boot_id=bytes(16), pid=pid, start=pid)
    return Seen(ObservationKind.PROCESS_EXEC, process, (), at, Precision.EXACT)


def a_file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nobody_overtakes_one_whose_image_is_being_hashed(tmp_path: Path) -> None:
    made = AQueue()
    made.push(1, a_file(tmp_path, "big", b"x" * SLICE_BYTES * 3))
    made.push(2)

    first = made.queue.ready()
    told = made.told()

    assert first is None
    assert [process.pid for process in told] == [1, 2]


def test_a_known_digest_does_not_wait_and_holds_nothing(tmp_path: Path) -> None:
    path = a_file(tmp_path, "image", b"data")
    made = AQueue()
    made.push(1, path)
    made.told()
    before = descriptors()

    made.push(2, path)
    seen = made.queue.ready()

    assert seen is not None
    assert seen.process.sha256 == hashlib.sha256(b"data").digest()
    assert descriptors() <= before


def test_executions_before_the_reading_share_it_and_later_ones_do_not(tmp_path: Path) -> None:
    path = a_file(tmp_path, "image", b"x" * SLICE_BYTES * 2)
    made = AQueue()
    made.clock.wall = path.stat().st_ctime_ns  # too young to be remembered
    shots = [made.queue.submit(an_image(path), pid) for pid in (1, 2)]

    made.queue.step()
    later = made.queue.submit(an_image(path), 3)

    assert shots[0] is shots[1]
    assert later is not shots[0]
    made.queue.clear()


def test_a_file_opened_for_reading_is_hashed_through_that_descriptor(tmp_path: Path) -> None:
    path = a_file(tmp_path, "image", b"x" * SLICE_BYTES * 2 + b"y")
    made = AQueue()
    shot = made.queue.submit(an_image(path, is_readable=True), 1)
    path.unlink()
    before = descriptors()

    while not shot.is_done:
        made.queue.step()

    assert shot.sha256 == hashlib.sha256(b"x" * SLICE_BYTES * 2 + b"y").digest()
    assert descriptors() <= before - 1


def test_what_finds_no_room_is_told_without_a_digest_and_counted(tmp_path: Path) -> None:
    made = AQueue(images_max=1)
    made.push(1, a_file(tmp_path, "one", b"1"))
    room = made.queue.room
    made.push(2, a_file(tmp_path, "two", b"2"))

    told = made.told()

    assert room == 0
    assert told[0].sha256 == hashlib.sha256(b"1").digest()
    assert told[1].sha256 is UNSET
    assert told[1].caveats == (QUEUE_FULL,)
    assert made.queue.take_skipped() == 1
    assert made.queue.take_skipped() == 0


def test_over_budget_nothing_new_is_hashed_and_what_is_known_is_told(tmp_path: Path) -> None:
    known, new = a_file(tmp_path, "known", b"1"), a_file(tmp_path, "new", b"2")
    made = AQueue()
    made.push(1, known)
    made.told()
    made.queue.hashes_new = False
    made.push(2, known)
    made.push(3, new)

    told = made.told()

    assert told[0].sha256 == hashlib.sha256(b"1").digest()
    assert told[1].caveats == (OVER_BUDGET,)
    assert made.queue.take_skipped() == 0


def test_nothing_is_held_longer_than_a_second_unless_it_runs_anyway(tmp_path: Path) -> None:
    made = AQueue()
    made.push(1, a_file(tmp_path, "gone", b"x" * SLICE_BYTES * 2))
    made.push(2, a_file(tmp_path, "running", b"y" * SLICE_BYTES * 2))
    made.running.add(2)
    made.queue.step()
    made.clock.forward(HELD_S_MAX + 1)

    told = made.told()

    assert told[0].caveats == (TOO_SLOW,)
    assert told[1].sha256 == hashlib.sha256(b"y" * SLICE_BYTES * 2).digest()
    assert made.queue.take_skipped() == 1


def test_a_file_that_changed_after_the_event_says_so(tmp_path: Path) -> None:
    path = a_file(tmp_path, "image", b"data")
    made = AQueue()
    made.push(1, path, at=path.stat().st_ctime_ns - 1)
    made.push(2, path, at=path.stat().st_ctime_ns)

    told = made.told()

    assert [process.caveats for process in told] == [(CHANGED,), ()]


def test_a_script_is_hashed_too_and_is_racy(tmp_path: Path) -> None:
    made = AQueue()
    seen = a_seen(1)
    seen.script = made.queue.submit(an_image(a_file(tmp_path, "x.sh", b"#!/bin/sh\n")), 1)
    made.queue.push(seen)

    (process,) = made.told()

    assert process.script_sha256 == hashlib.sha256(b"#!/bin/sh\n").digest()
    assert process.caveats == (RACY,)


def test_what_another_source_may_add_is_waited_for_and_no_longer() -> None:
    made = AQueue()
    seen = made.push(1)
    seen.waits_until = made.clock.boot_ns() + 10
    first = made.queue.ready()
    until = made.queue.waits_until()

    made.clock.forward(1)

    assert first is None
    assert until == seen.waits_until
    assert made.queue.ready() is seen


def test_a_shot_without_a_file_is_done() -> None:
    assert Shot(caveat="x").is_done


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = descriptors()
    for images_max in (1, 8):
        made = AQueue(images_max=images_max)
        for number in range(4):
            made.push(number, a_file(tmp_path, f"i{number}", b"x" * SLICE_BYTES * 2))
        made.queue.step()
        made.queue.clear()
        assert len(made.queue) == 0
        made.queue.step()

    assert descriptors() <= before


def test_a_server_that_copies_the_stamps_of_a_known_file_does_not_get_its_digest(
    tmp_path: Path,
) -> None:
    queue = AQueue()
    path = a_file(tmp_path, "known", b"known")
    queue.push(1, path)
    queue.told()
    served = structs.replace(an_image(path), is_remote=True)

    shot = queue.queue.submit(served, 2)

    assert (shot.sha256, shot.caveat, shot.image) == (UNSET, REMOTE, None)
