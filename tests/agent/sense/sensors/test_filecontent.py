"""Reading a file gives digests of all of it, or says why not."""

import errno
import hashlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.sensors.filecontent import SLICE_BYTES, Content, ContentReader
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FailingDisk

LIMIT = 3 * SLICE_BYTES


class Desk:
    """A host, and a reader of its files."""

    def __init__(self, root: Path) -> None:
        self.path = root / "file"
        self.disk = FailingDisk()
        self.host = HostRoot(root, self.disk)
        self.reader = ContentReader(self.host, FakeClock(), LIMIT)

    def steps(self, *, with_md5: bool = False) -> Generator[None, None, Content | None]:
        return self.reader.read(b"/file", self.path.lstat(), with_md5=with_md5)

    def read(self, *, with_md5: bool = False) -> Content:
        content = end_of(self.steps(with_md5=with_md5))
        assert content is not None
        return content


def end_of(steps: Generator[None, None, Content | None]) -> Content | None:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            content: Content | None = end.value
            return content


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.host.close()


@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, SLICE_BYTES + 1, LIMIT])
def test_both_digests_are_of_the_whole_file(desk: Desk, size: int) -> None:
    data = os.urandom(size)
    desk.path.write_bytes(data)

    both, one = desk.read(with_md5=True), desk.read()

    assert both.sha256 == one.sha256 == hashlib.sha256(data).digest()
    assert both.md5 == hashlib.md5(data).digest()  # noqa: S324
    assert one.md5 == b""


def test_no_file_is_held_open_by_a_reading_that_is_given_up(desk: Desk) -> None:
    desk.path.write_bytes(bytes(LIMIT))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    steps = desk.steps()
    next(steps)

    steps.close()

    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_what_is_too_large_unreadable_or_no_file_is_not_hashed(desk: Desk) -> None:
    desk.path.touch()
    os.truncate(desk.path, LIMIT + 1)
    large = desk.read()
    os.truncate(desk.path, 1)
    desk.disk.fail(b"/file", errno.EACCES)
    denied = desk.read()
    desk.disk.mend()
    desk.path.unlink()
    os.mkfifo(desk.path)
    fifo = desk.read()

    assert (large.sha256, large.caveats) == (UNSET, ("too large to hash",))
    assert (denied.sha256, denied.caveats) == (UNSET, ("unreadable",))
    assert (fifo.sha256, fifo.caveats) == (None, ("fifo",))


def test_a_file_that_moves_while_it_is_read_has_no_digest(desk: Desk) -> None:
    desk.path.write_bytes(bytes(2 * SLICE_BYTES))
    steps = desk.steps(with_md5=True)
    next(steps)
    desk.path.write_bytes(b"other")
    content = end_of(steps)

    assert content is not None
    assert (content.sha256, content.md5, content.caveats) == (UNSET, b"", ("changed",))
    assert content.unsure
