"""A file of a log is known by its own place, or by what is in it; anything else is news."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sense.sensors.logfile import LogFile
from agent.sense.sensors.logplaces import PLACES_MAX, Places, place_in


class Folder:
    """A directory of files, closed at the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened: list[LogFile] = []

    def file(self, name: str, text: str | None = None, *, is_read: bool = False) -> LogFile:
        path = self.root / name
        if text is not None:
            path.write_text(text, "ascii")
        made = LogFile(os.open(path, os.O_RDONLY))
        if is_read:
            made.take(100)
        self.opened.append(made)
        return made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    for file in made.opened:
        file.close()


def test_a_files_own_place_comes_before_that_of_a_copy(folder: Folder) -> None:
    own = folder.file("a", "one line\n", is_read=True).position()
    copy = folder.file("b", "one line\ntwo\n", is_read=True).position()
    again = folder.file("a", None)

    assert place_in(again, [copy, own]) == own
    assert place_in(folder.file("c", "one line\ntwo\nthree\n"), [own, copy]) == copy
    assert place_in(folder.file("d", "another\n"), [own, copy]) is None
    assert place_in(again, []) is None


def test_a_file_that_cannot_be_read_has_no_place(folder: Folder) -> None:
    own = folder.file("a", "one\n", is_read=True).position()
    closed = folder.file("a")
    closed.close()

    assert place_in(closed, [own]) is None


def test_a_file_without_a_name_is_remembered_by_when_it_was_written_alone(folder: Folder) -> None:
    places = Places()
    file = folder.file("a", "one\n", is_read=True)
    (folder.root / "a").unlink()

    places.note(file)

    assert places.positions() == []
    assert not places.is_packed_unread({file.written}, [])


def test_places_are_noted_once_and_the_oldest_go_first(folder: Folder) -> None:
    places = Places()
    for n in range(PLACES_MAX + 3):
        places.note(folder.file(str(n), f"{n}\n", is_read=True))
        places.note(folder.opened[-1])

    assert len(places.positions()) == PLACES_MAX
    assert places.positions()[-1].inode == folder.opened[-1].inode
    assert all(place.is_spent for place in places.positions())


def test_a_compressed_file_is_unread_where_nothing_we_read_was_written_then(
    folder: Folder,
) -> None:
    places = Places()
    read, followed = folder.file("a", "1\n", is_read=True), folder.file("b", "1\n", is_read=True)
    places.note(read)
    places.note_packed({1})
    whole_second = read.written // 10**9 * 10**9

    known = places.is_packed_unread({1, read.written, followed.written, whole_second}, [followed])
    unread = places.is_packed_unread({1, 2}, [followed])
    told_already = places.is_packed_unread({1, 2}, [followed])

    assert (known, unread, told_already) == (False, True, False)
