import hashlib
import os
from pathlib import Path

from msgspec import UNSET

from agent.sense.sensors.hashqueue import QUEUE_FULL, HashQueue, Seen
from agent.sense.sensors.identity import Sight
from agent.sense.sensors.imagehash import SLICE_BYTES, ImageHashes
from agent.sense.sensors.images import Image
from agent.syscalls import facts_of
from proto.model import ObservationKind, Precision, Process
from tests.fakes.clock import FakeClock


def a_queue(*, images_max: int = 8) -> HashQueue:
    clock = FakeClock()
    clock.wall = 1 << 62  # every file is old
    hashes = ImageHashes(clock, size_bytes_max=1 << 30, entries_max=64)
    return HashQueue(hashes, images_max)


def a_sight(pid: int, path: Path | None = None) -> Sight:
    process = Process(boot_id=bytes(16), pid=pid, start=pid)
    if path is None:
        return Sight(process)
    fd = os.open(path, os.O_PATH)
    return Sight(process, Image(fd=fd, facts=facts_of(fd), is_remote=False))


def push(queue: HashQueue, sight: Sight) -> None:
    claimed = queue.claim(sight)
    queue.push(
        Seen(
            kind=ObservationKind.PROCESS_EXEC,
            process=claimed.process,
            ancestry=(),
            event_time=1,
            precision=Precision.EXACT,
            image=claimed.image,
        )
    )


def a_file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_nobody_overtakes_one_whose_image_is_being_hashed(tmp_path: Path) -> None:
    queue = a_queue()
    push(queue, a_sight(1, a_file(tmp_path, "big", b"x" * SLICE_BYTES * 3)))
    push(queue, a_sight(2))

    told = []
    steps = 0
    while len(queue):
        steps += 1
        if seen := queue.step():
            told.append(seen.process.pid)

    assert told == [1, 2]
    assert steps > 3


def test_a_known_digest_does_not_wait(tmp_path: Path) -> None:
    path = a_file(tmp_path, "image", b"data")
    queue = a_queue()
    push(queue, a_sight(1, path))
    assert queue.ready() is None
    while queue.step() is None:
        pass

    push(queue, a_sight(2, path))
    seen = queue.ready()

    assert seen is not None
    assert seen.process.sha256 == hashlib.sha256(b"data").digest()


def test_what_finds_no_room_is_told_without_a_digest_and_counted(tmp_path: Path) -> None:
    queue = a_queue(images_max=1)
    push(queue, a_sight(1, a_file(tmp_path, "one", b"1")))
    push(queue, a_sight(2, a_file(tmp_path, "two", b"2")))

    told = []
    while len(queue):
        if seen := queue.step():
            told.append(seen.process)

    assert told[0].sha256 == hashlib.sha256(b"1").digest()
    assert told[1].sha256 is UNSET
    assert told[1].caveats == (QUEUE_FULL,)
    assert queue.take_skipped() == 1
    assert queue.take_skipped() == 0


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for images_max in (1, 8):
        queue = a_queue(images_max=images_max)
        for number in range(4):
            push(queue, a_sight(number, a_file(tmp_path, f"i{number}", b"x" * SLICE_BYTES * 2)))
        queue.step()
        queue.clear()
        assert len(queue) == 0
        assert queue.step() is None

    assert len(list(Path("/proc/self/fd").iterdir())) == before
