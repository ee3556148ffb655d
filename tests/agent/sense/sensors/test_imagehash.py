import hashlib
import os
from pathlib import Path

import pytest
from msgspec import UNSET, structs

from agent.sense.sensors import imagehash
from agent.sense.sensors.imagehash import SLICE_BYTES, Hashed, ImageHashes
from agent.sense.sensors.images import Image
from agent.syscalls import facts_of
from runtime.clock import NS_PER_S
from tests.fakes.clock import FakeClock


def an_image(path: Path, *, is_remote: bool = False) -> Image:
    fd = os.open(path, os.O_PATH)
    return Image(fd=fd, facts=facts_of(fd), is_remote=is_remote)


def a_file(folder: Path, data: bytes) -> Path:
    path = folder / "image"
    path.write_bytes(data)
    return path


def some_hashes(path: Path, *, age_s: float = 10, entries_max: int = 8) -> ImageHashes:
    clock = FakeClock()
    clock.wall = path.stat().st_ctime_ns + int(age_s * NS_PER_S)
    return ImageHashes(clock, size_bytes_max=4 * SLICE_BYTES, entries_max=entries_max)


def to_end(hashes: ImageHashes, image: Image) -> tuple[Hashed, int]:
    for step in range(1, 20):
        if (hashed := hashes.advance(image)) is not None:
            return hashed, step
    raise AssertionError("never done")


def test_a_digest_comes_in_slices(tmp_path: Path) -> None:
    data = os.urandom(SLICE_BYTES * 2 + 5)
    path = a_file(tmp_path, data)

    hashed, steps = to_end(some_hashes(path), an_image(path))

    assert hashed == Hashed(hashlib.sha256(data).digest())
    assert steps == 4


def test_an_empty_image_has_the_digest_of_nothing(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"")

    assert to_end(some_hashes(path), an_image(path))[0].sha256 == hashlib.sha256().digest()


def test_a_file_that_stays_the_same_is_hashed_once(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x" * 10)
    hashes = some_hashes(path)

    first, _ = to_end(hashes, an_image(path))
    again, steps = to_end(hashes, an_image(path))

    assert again == first
    assert steps == 1
    assert hashes.known(an_image(path).key) == first.sha256


def test_a_young_file_is_never_remembered(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x")

    for age_s in (0, 1.99, -5):
        hashes = some_hashes(path, age_s=age_s)
        to_end(hashes, an_image(path))
        assert hashes.known(an_image(path).key) is None


def test_a_changed_file_is_another_image(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"one")
    hashes = some_hashes(path)
    to_end(hashes, an_image(path))
    times = path.stat()

    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # an attacker sets mtime, not ctime

    assert to_end(hashes, an_image(path))[0].sha256 == hashlib.sha256(b"two").digest()


def test_a_file_that_changes_meanwhile_says_so_and_is_not_remembered(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x" * (SLICE_BYTES + 1))
    hashes = some_hashes(path)
    image = an_image(path)

    hashes.advance(image)
    with path.open("ab") as file:
        file.write(b"more")
    hashed, _ = to_end(hashes, image)

    assert hashed.caveat == imagehash.CHANGED
    assert hashed.sha256 is not UNSET
    assert hashes.known(image.key) is None


@pytest.mark.parametrize("grown", [False, True])
def test_what_is_larger_than_the_limit_is_not_hashed(tmp_path: Path, *, grown: bool) -> None:
    path = a_file(tmp_path, b"")
    image = an_image(path)
    with path.open("wb") as file:
        file.truncate(4 * SLICE_BYTES + 1)

    hashed, steps = to_end(some_hashes(path), image if grown else an_image(path))

    assert hashed == Hashed(UNSET, imagehash.TOO_LARGE)
    assert steps == (5 if grown else 1)


def test_what_lies_behind_a_server_is_not_touched(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x")

    hashed, _ = to_end(some_hashes(path), an_image(path, is_remote=True))

    assert hashed == Hashed(UNSET, imagehash.REMOTE)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image")

    hashed, _ = to_end(some_hashes(tmp_path), an_image(tmp_path / "image"))

    assert hashed == Hashed(UNSET, imagehash.NOT_REGULAR)


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x")
    image = an_image(path)
    image.close()

    hashed, _ = to_end(some_hashes(path), structs.replace(image, fd=1 << 20))

    assert hashed == Hashed(UNSET, imagehash.UNREADABLE)


def test_the_oldest_digest_makes_room(tmp_path: Path) -> None:
    paths = [tmp_path / f"image{number}" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    hashes = some_hashes(paths[-1], entries_max=2)

    for path in paths:
        to_end(hashes, an_image(path))

    assert [hashes.known(an_image(path).key) is not None for path in paths] == [False, True, True]


def test_giving_up_closes_the_file(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"x" * (SLICE_BYTES * 2))
    hashes = some_hashes(path)
    image = an_image(path)
    before = len(list(Path("/proc/self/fd").iterdir()))

    hashes.advance(image)
    hashes.abandon()
    hashes.abandon()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
