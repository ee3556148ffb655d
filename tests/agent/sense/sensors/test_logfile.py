"""One log file gives every whole line once, whatever its lines are."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.logfile import CHUNK_BYTES, LINE_BYTES_MAX, Line, LogFile


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, LogFile]]:
    path = tmp_path / "log"
    path.touch()
    file = LogFile(os.open(path, os.O_RDONLY))
    yield path, file
    file.close()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def opened(path: Path) -> LogFile:
    return LogFile(os.open(path, os.O_RDONLY))


def everything(file: LogFile, count_max: int = 7) -> list[Line]:
    lines = file.take(count_max)
    while not file.is_at_end:
        lines += file.take(count_max)
    return lines


def test_lines_come_with_their_offsets_and_without_their_ends(log: tuple[Path, LogFile]) -> None:
    path, file = log

    append(path, b"one\ntwo\r\n\n\xff\x00\n")

    assert everything(file) == [Line(0, b"one"), Line(4, b"two"), Line(9, b""), Line(10, b"\xff\0")]
    assert everything(file) == []


def test_a_line_without_its_end_waits_for_it(log: tuple[Path, LogFile]) -> None:
    path, file = log

    append(path, b"one\nhalf")
    first = everything(file)
    append(path, b" a line\nnext")

    assert first == [Line(0, b"one")]
    assert everything(file) == [Line(4, b"half a line")]
    assert file.take_rest() == [Line(16, b"next")]
    assert file.take_rest() == []


def test_a_line_over_the_cap_is_cut_and_its_rest_is_passed_over(
    log: tuple[Path, LogFile],
) -> None:
    path, file = log

    append(path, b"x" * (3 * CHUNK_BYTES) + b"\nafter\n")
    cut, after = everything(file)

    assert cut.is_cut
    assert len(cut.text) == LINE_BYTES_MAX
    assert cut.text.endswith(b"x [cut]")
    assert after == Line(3 * CHUNK_BYTES + 1, b"after")


def test_a_line_at_the_cap_is_whole(log: tuple[Path, LogFile]) -> None:
    path, file = log

    append(path, b"x" * LINE_BYTES_MAX + b"\n")

    assert everything(file) == [Line(0, b"x" * LINE_BYTES_MAX)]


def test_a_huge_line_costs_no_memory(log: tuple[Path, LogFile]) -> None:
    path, file = log
    with path.open("wb") as file_of_one_line:
        for _ in range(128):
            file_of_one_line.write(b"x" * (1 << 20))
    append(path, b"\nafter\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    lines = everything(file)

    assert [line.is_cut for line in lines] == [True, False]
    assert lines[1].text == b"after"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_one_take_reads_a_bounded_amount(log: tuple[Path, LogFile]) -> None:
    path, file = log
    append(path, b"x")
    os.truncate(path, 1 << 30)

    file.take(10)

    assert not file.is_at_end
    assert file.position().offset <= 16 * CHUNK_BYTES


def test_the_hole_a_writer_leaves_in_a_truncated_file_is_no_line(
    log: tuple[Path, LogFile],
) -> None:
    path, file = log
    with path.open("wb", buffering=0) as writer:  # without O_APPEND it goes on where it was
        writer.seek(1 << 30)
        writer.write(b"after the hole\nnext\n")

    lines = everything(file)

    assert lines == [Line(1 << 30, b"after the hole"), Line((1 << 30) + 15, b"next")]


def test_a_hole_at_the_end_waits_for_what_comes_after_it(log: tuple[Path, LogFile]) -> None:
    path, file = log
    os.truncate(path, 1 << 30)

    before = everything(file)
    append(path, b"after\n")

    assert (before, everything(file)) == ([], [Line(1 << 30, b"after")])


def test_a_file_that_begins_alike_and_is_longer_is_another_one(log: tuple[Path, LogFile]) -> None:
    path, file = log
    head = b"# the same long header in every log of this program\n" * 8
    append(path, head + b"one\ntwo\n")
    everything(file)
    position = file.position()

    os.truncate(path, 0)
    append(path, head + b"1\n2\n3\n4\n5\n6\n")
    other = opened(path)

    assert file.is_rewritten()
    assert not other.is_at(position)
    other.close()


def test_a_file_rewritten_between_the_look_and_the_read_gives_no_line_of_it(
    log: tuple[Path, LogFile],
) -> None:
    path, file = log
    head = b"# the same long header in every log of this program\n" * 8
    append(path, head + b"one\ntwo\n")
    everything(file)

    os.truncate(path, 0)
    append(path, head + b"1\n2\n3\n4\n5\n6\n")

    assert everything(file) == []
    assert file.is_rewritten()


def test_it_is_said_whether_the_last_line_has_its_end(log: tuple[Path, LogFile]) -> None:
    path, file = log
    empty = file.has_its_end()
    append(path, b"one\nhalf")
    half = file.has_its_end()
    append(path, b"\n")

    assert (empty, half, file.has_its_end()) == (True, False, True)
    file.close()
    assert not file.has_its_end()


def test_it_is_said_how_much_is_there_to_read(log: tuple[Path, LogFile]) -> None:
    path, file = log
    append(path, b"one\ntwo\n")

    before = file.behind()
    file.take(1)

    assert (before, file.behind()) == (8, 4)
    path.unlink()
    assert file.is_unlinked()
    file.close()
    assert (file.behind(), file.is_unlinked()) == (0, True)


def test_a_position_continues_in_the_middle_of_a_line_that_was_cut(
    log: tuple[Path, LogFile],
) -> None:
    path, file = log
    append(path, b"x" * (2 * CHUNK_BYTES))
    file.take(1)
    position = file.position()
    append(path, b"still x\nafter\n")

    again = opened(path)
    assert again.is_at(position)
    again.go_to(position)

    assert [line.text for line in everything(again)] == [b"after"]
    again.close()


def test_a_file_cut_short_or_begun_anew_is_noticed(log: tuple[Path, LogFile]) -> None:
    path, file = log
    append(path, b"Nov 22 first line\nsecond\n")
    everything(file)
    assert not file.is_rewritten()

    os.truncate(path, 5)
    shorter = file.is_rewritten()
    os.truncate(path, 0)
    append(path, b"Nov 23 another line, and longer than before\n")
    other = file.is_rewritten()
    file.go_to_start()

    assert (shorter, other) == (True, True)
    assert not file.is_rewritten()
    assert [line.offset for line in everything(file)] == [0]


def test_a_short_file_is_known_again_by_its_inode_and_a_copy_by_its_beginning(
    tmp_path: Path,
) -> None:
    short, long, copy = (tmp_path / name for name in ("short", "long", "copy"))
    short.write_bytes(b"x\n")
    long.write_bytes(b"".join(b"line %d\n" % n for n in range(100)))
    copy.write_bytes(long.read_bytes())
    files = [opened(path) for path in (short, long, copy)]
    everything(files[1])

    of_short, of_long = files[0].position(), files[1].position()

    assert [file.is_at(of_short) for file in files] == [True, False, False]
    assert [file.is_at(of_long) for file in files] == [False, True, True]
    for file in files:
        file.close()


def test_only_the_end_of_a_long_history_is_read(log: tuple[Path, LogFile]) -> None:
    path, _ = log
    append(path, b"0123456\n" * 10)

    ends = []
    for count in (16, 17, 24, 1000, 0):
        file = opened(path)
        file.leave_out_all_but(count)
        ends.append(len(everything(file)))
        file.close()

    assert ends == [2, 2, 3, 10, 0]


@given(st.lists(st.binary(max_size=30), max_size=12), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_however_it_is_written_and_taken_each_line_comes_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], count_max: int, cuts: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "written"
    path.write_bytes(b"")
    file = opened(path)

    taken: list[Line] = []
    for number, piece in enumerate(pieces):
        append(path, piece + b"\n" * (cuts >> number & 1))
        if cuts >> number & 2:
            position = file.position()
            file.close()
            file = opened(path)
            assert file.is_at(position)
            file.go_to(position)
        taken += everything(file, count_max)
    taken += file.take_rest()
    file.close()

    whole = path.read_bytes()
    expected = [line.lstrip(b"\0") for line in whole.split(b"\n")]
    if not expected[-1]:
        expected.pop()
    assert [line.text for line in taken] == [text.removesuffix(b"\r") for text in expected]
    assert all(whole[line.offset :].startswith(line.text) for line in taken)
