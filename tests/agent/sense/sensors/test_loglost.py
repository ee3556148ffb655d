"""A place that no file has is found in what a compressed rotation holds, or said to be lost."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sense.sensors.logfile import LogFile, Position
from agent.sense.sensors.loglost import GONE, TRUNCATED, UNENDED, UNREADABLE, LostPlaces

TEXT = b"".join(b"line %d of a log that is long enough\n" % n for n in range(6))
AT = 1_790_000_000_000_000_000


def held(data: bytes) -> int:
    fd = os.memfd_create("held")
    os.write(fd, data)
    return fd


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Position]:
    (tmp_path / "log").write_bytes(TEXT)
    os.utime(tmp_path / "log", ns=(AT, AT))
    file = LogFile(os.open(tmp_path / "log", os.O_RDONLY))
    file.take(4)
    yield file.position()
    file.close()


def rest(lost: LostPlaces) -> list[list[bytes]]:
    lines = [[line.text[:6] for line in file.take(99)] for file in lost.files]
    lost.close()
    return lines


def test_a_place_is_read_on_from_and_what_came_after_it_is_read_whole(place: Position) -> None:
    older, same, later = AT - 10**10, AT // 10**9 * 10**9, AT + 1
    files = [(b"/c.gz", older), (b"/b.gz", same), (b"/a.gz", later)]
    lost = LostPlaces([place], None, files, AT)
    wanted = [packed.path for packed in lost.packed]

    lost.take(held(TEXT))
    lost.take(held(b"next\n"))

    assert wanted == [b"/b.gz", b"/a.gz"]
    assert lost.gaps() == []
    assert rest(lost) == [[b"line 4", b"line 5"], [b"next"]]
    assert list(lost.packed) == []


def test_what_was_written_before_the_place_is_not_read(place: Position) -> None:
    lost = LostPlaces([place], None, [(b"/b.gz", AT)], AT)

    lost.take(held(b"some other log\n"))

    assert lost.files == []
    assert lost.gaps() == [GONE]


def test_what_was_told_of_other_files_since_is_not_read_again(place: Position) -> None:
    lost = LostPlaces([place], None, [(b"/b.gz", AT), (b"/a.gz", AT + 5)], AT + 9)

    lost.take(held(TEXT))
    lost.take(held(b"told\n"))

    assert rest(lost) == [[b"line 4", b"line 5"]]


def test_a_rotation_that_ends_within_a_line_was_still_written_to(place: Position) -> None:
    lost = LostPlaces([place], None, [(b"/b.gz", AT)], AT)

    lost.take(held(TEXT + b"half"))

    assert lost.gaps() == [UNENDED]
    lost.close()


def test_what_cannot_be_had_is_said(place: Position) -> None:
    lost = LostPlaces([place], None, [(b"/b.gz", AT), (b"/a.gz", AT + 1)], AT)
    lost.take(held(TEXT))
    lost.take(-1)
    neither = LostPlaces([place], None, [(b"/b.gz", AT)], AT)
    neither.take(-1)

    assert lost.gaps() == [UNREADABLE]
    assert neither.gaps() == [GONE]
    lost.close()


def test_a_place_in_the_log_itself_was_lost_by_truncation(place: Position) -> None:
    assert LostPlaces([place], place.inode, []).gaps() == [TRUNCATED]
    assert LostPlaces([place], 0, []).gaps() == [GONE]


def test_nothing_lost_is_nothing_wanted() -> None:
    lost = LostPlaces([], 5, [(b"/a.gz", AT)], AT)

    assert (list(lost.packed), lost.gaps()) == ([], [])
