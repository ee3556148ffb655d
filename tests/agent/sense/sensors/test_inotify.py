"""The inotify wrapper says what the kernel says, losses included."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors import inotify
from agent.sense.sensors.inotify import Event, Inotify, parse

MASK = inotify.CREATE | inotify.CLOSE_WRITE | inotify.DELETE_SELF


@pytest.fixture
def instance() -> Iterator[Inotify]:
    opened = Inotify()
    yield opened
    opened.close()


def watched(instance: Inotify, path: Path, mask: int = MASK) -> int:
    fd = os.open(path, os.O_PATH)
    try:
        return instance.add(fd, mask)
    finally:
        os.close(fd)


def test_a_change_in_a_watched_directory_is_told_with_its_name(
    instance: Inotify, tmp_path: Path
) -> None:
    number = watched(instance, tmp_path)

    (tmp_path / "é").write_bytes(b"x")

    assert instance.read() == [
        Event(number, inotify.CREATE, "é".encode()),
        Event(number, inotify.CLOSE_WRITE, "é".encode()),
    ]
    assert instance.read() == []


def test_the_same_directory_has_one_watch_and_an_ended_one_is_said(
    instance: Inotify, tmp_path: Path
) -> None:
    (inner := tmp_path / "inner").mkdir()
    number = watched(instance, inner)

    again = watched(instance, inner)
    inner.rmdir()

    assert again == number
    assert instance.read() == [
        Event(number, inotify.DELETE_SELF, b""),
        Event(number, inotify.IGNORED, b""),
    ]


def test_a_removed_watch_is_silent(instance: Inotify, tmp_path: Path) -> None:
    number = watched(instance, tmp_path)

    instance.remove(number)
    instance.remove(number)
    (tmp_path / "f").touch()

    assert [event.mask for event in instance.read()] == [inotify.IGNORED]


def test_an_overflowing_queue_is_visible(instance: Inotify, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text("ascii"))
    if limit > 100_000:
        pytest.skip(f"this host queues {limit} events")
    first = watched(instance, tmp_path, inotify.ATTRIB)
    for n in range(2):
        (tmp_path / f"{n}").touch()
    instance.read()

    for n in range(limit + 8):  # equal events in a row would be merged
        (tmp_path / f"{n % 2}").chmod(0o600 + n // 2 % 2)
    events = []
    while more := instance.read():
        events += more

    assert Event(-1, inotify.OVERFLOW, b"") in events
    assert {event.watch for event in events} == {first, -1}


def test_a_directory_is_required_where_one_is_asked_for(instance: Inotify, tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError):
        watched(instance, file, MASK | inotify.ONLYDIR)


def test_closing_twice_is_no_matter(tmp_path: Path) -> None:
    instance = Inotify()

    instance.close()
    instance.close()

    assert instance.fileno() == -1


@given(
    st.lists(
        st.tuples(st.integers(-1, 2**31 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
        max_size=5,
    ),
    st.binary(max_size=15),
)
def test_events_are_read_back_and_a_cut_one_is_left_out(
    events: list[tuple[int, int, bytes]], tail: bytes
) -> None:
    data = b"".join(
        struct.pack("=iIII", watch, mask, 0, len(name)) + name for watch, mask, name in events
    )

    assert parse(data + tail) == [Event(w, m, name.rstrip(b"\0")) for w, m, name in events]


@given(st.binary(max_size=200))
def test_any_bytes_are_some_events(data: bytes) -> None:
    assert all(isinstance(event, Event) for event in parse(data))
