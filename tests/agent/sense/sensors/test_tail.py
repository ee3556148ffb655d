"""Every line of a log comes once, through rotations and restarts, or its loss is said."""

import errno
import gzip
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.hostroot import HostRoot
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.tail import LINGER_NS, Tail
from tests.debian import extracted, libraries
from tests.fakes.disk import FailingDisk

HISTORY_BYTES = 1 << 20


class Log:
    """A log on a host of its own, with one tail on it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "log"
        self.now = 0
        self.gaps: list[str] = []
        self.host = HostRoot(root)
        self.tail = self.a_tail()

    def a_tail(self) -> Tail:
        return Tail(self.host, "/log", HISTORY_BYTES)

    def start(self, cursor: bytes = b"") -> None:
        self.tail.close()
        self.tail = self.a_tail()
        self.tail.start(cursor, self.now)
        while self.tail.packed:
            self.tail.take_unpacked(inflated(self.root / os.fsdecode(self.tail.packed[0].path[1:])))

    def close(self) -> None:
        self.tail.close()
        self.host.close()

    def append(self, text: str, name: str = "log") -> None:
        with (self.root / name).open("a", encoding="ascii") as file:
            file.write(text)

    def rotate(self, *, create: bool = True) -> None:
        self.make_room()
        self.path.rename(self.root / "log.1")
        if create:
            self.path.touch()

    def make_room(self) -> None:
        """Count the numbers of the rotated files up, as logrotate does."""
        for number, ending in sorted(self.rotated(), reverse=True):
            old = self.root / f"log.{number}{ending}"
            old.rename(self.root / f"log.{number + 1}{ending}")

    def rotated(self) -> list[tuple[int, str]]:
        parts = [path.name.split(".") for path in self.root.glob("log.*")]
        return [(int(part[1]), "".join(f".{end}" for end in part[2:])) for part in parts]

    def copytruncate(self) -> None:
        self.make_room()
        shutil.copy(self.path, self.root / "log.1")
        os.truncate(self.path, 0)

    def take(self, count_max: int = 100) -> list[str]:
        taken = self.tail.take(count_max, self.now)
        self.gaps += taken.gaps
        return [line.text.decode() for line in taken.lines]

    def rest(self) -> list[str]:
        """Take until the end."""
        lines: list[Line] = []
        while True:
            taken = self.tail.take(3, self.now)
            lines += taken.lines
            self.gaps += taken.gaps
            if taken.is_at_end:
                return [line.text.decode() for line in lines]


def inflated(path: Path) -> int:
    """Return what a compressed file holds as the worker would give it: open, or -1."""
    try:
        data = gzip.decompress(path.read_bytes())
    except OSError:
        return -1
    fd = os.memfd_create("log")
    os.write(fd, data)
    return fd


def packed(path: Path) -> None:
    """Compress a file as gzip(1) does, which keeps its time."""
    seen = path.stat()
    made = path.with_name(path.name + ".gz")
    made.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(made, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    path.unlink()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.close()


def numbered(first: int, last: int) -> str:
    return "".join(
        f"line {number} of a log that has a beginning\n" for number in range(first, last)
    )


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines]


def test_a_rotation_by_rename_loses_nothing_and_lines_written_late_come_too(log: Log) -> None:
    log.append(numbered(0, 5))
    log.start()
    first = log.rest()
    log.append(numbered(5, 7))
    log.rotate()
    log.append(numbered(8, 10))
    log.append(numbered(7, 8), "log.1")

    second = log.rest()
    log.append(numbered(10, 11), "log.1")  # before the writer was told to reopen
    third = log.rest()

    assert numbers(first + second + third) == [*range(5), 5, 6, 7, 8, 9, 10]
    assert log.gaps == []


def test_a_rotated_file_is_let_go_when_it_has_been_quiet_and_has_no_name(log: Log) -> None:
    log.append(numbered(0, 2) + "no end")
    log.start()
    log.rest()
    log.rotate()
    log.rest()
    due = log.tail.due()
    (log.root / "log.1").unlink()

    log.now += LINGER_NS
    last = log.rest()

    assert due == LINGER_NS
    assert last == ["no end"]
    assert log.tail.due() is None
    assert len(log.tail.files()) == 1


def test_a_writer_that_is_told_to_reopen_hours_later_loses_nothing(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    first = log.rest()
    log.rotate()
    log.append(numbered(3, 4))
    first += log.rest()
    log.now += LINGER_NS
    first += log.rest()
    waits_for = log.tail.due()
    log.now += 500 * LINGER_NS

    log.append(numbered(2, 3), "log.1")

    assert (waits_for, numbers(first)) == (None, [0, 1, 3])
    assert numbers(log.rest()) == [2]


def test_only_the_newest_of_the_quiet_rotated_files_is_kept_open(log: Log) -> None:
    log.append(numbered(0, 1))
    log.start()
    log.rest()
    for at in range(1, 4):
        log.rotate()
        log.append(numbered(at, at + 1))
        log.rest()

    before = len(log.tail.files())
    log.now += LINGER_NS
    log.rest()

    assert (before, len(log.tail.files())) == (4, 2)


def test_a_told_and_quiet_rotation_that_is_compressed_while_away_is_no_gap(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    log.rest()
    log.rotate()
    log.append(numbered(2, 3))
    log.rest()
    log.now += LINGER_NS
    log.rest()
    cursor = log.tail.cursor()
    (log.root / "log.1").rename(log.root / "log.1.gz")
    log.append(numbered(3, 4))

    log.start(cursor)

    assert numbers(log.rest()) == [3]
    assert log.gaps == []


def test_two_rotations_at_once_of_which_the_first_is_compressed_lose_nothing(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    first = log.rest()
    log.rotate()
    log.append(numbered(2, 3))
    log.rotate()
    (log.root / "log.2").rename(log.root / "log.2.gz")
    log.append(numbered(3, 4))

    assert numbers(first + log.rest()) == [0, 1, 2, 3]
    assert log.gaps == []


def test_a_rotation_that_was_compressed_before_we_saw_it_is_a_gap(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    first = log.rest()
    for at in (2, 3):
        log.rotate()
        log.append(numbered(at, at + 1))
        os.utime(log.path, ns=(time.time_ns() + at * 10**9,) * 2)
    (log.root / "log.2").rename(log.root / "log.2.gz")
    (log.root / "log.1").rename(log.root / "log.1.gz")

    assert numbers(first + log.rest()) == [0, 1, 3]
    assert log.gaps == ["a rotation was compressed before it was read"]


def test_what_was_rotated_after_a_file_that_is_lost_is_read_all_the_same(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.rest()
    cursor = log.tail.cursor()
    log.rotate()
    log.append(numbered(3, 5))
    log.rotate()
    (log.root / "log.2").unlink()
    log.append(numbered(5, 6))

    log.start(cursor)

    assert numbers(log.rest()) == [3, 4, 5]
    assert log.gaps == ["a file that was read before is gone, compressed or rewritten"]


def test_all_copies_made_by_truncating_rotations_are_read(log: Log) -> None:
    log.append(numbered(0, 5))
    log.start()
    first = log.take(2)
    for at in (5, 8):
        log.copytruncate()
        log.append(numbered(at, at + 3))

    assert numbers(first + log.rest()) == list(range(11))
    assert len(log.gaps) == 1


def test_it_is_said_how_many_bytes_are_not_read_yet(log: Log) -> None:
    log.append("one\ntwo\n")
    log.start()
    log.take(1)
    log.rotate()
    log.append("three\n")

    before = log.tail.behind()
    log.rest()

    assert (before, log.tail.behind()) == (4, 0)


def test_several_rotations_between_two_looks_lose_nothing(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    first = log.rest()
    for at in range(2, 8, 2):
        log.append(numbered(at, at + 1))
        log.rotate()
        log.append(numbered(at + 1, at + 2))

    assert numbers(first + log.rest()) == list(range(8))
    assert log.gaps == []


def test_a_file_that_is_gone_for_a_moment_is_followed_when_it_is_back(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    first = log.rest()
    log.rotate(create=False)
    log.append(numbered(2, 3), "log.1")
    second = log.rest()
    log.append(numbered(3, 4))

    assert numbers(first + second + log.rest()) == [0, 1, 2, 3]


def test_a_restart_continues_where_the_cursor_says(log: Log) -> None:
    log.append(numbered(0, 3) + "half")
    log.start()
    first = log.rest()
    cursor = log.tail.cursor()
    log.append(" a line\n" + numbered(3, 4))
    log.start(cursor)

    assert numbers(first) == [0, 1, 2]
    assert log.rest()[0] == "half a line"
    log.start(cursor)
    assert len(log.rest()) == 2


def test_rotations_while_away_are_caught_up_oldest_first(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.rest()
    cursor = log.tail.cursor()
    log.tail.close()
    for at in (3, 5, 7):
        log.append(numbered(at, at + 1))
        log.rotate()
        log.append(numbered(at + 1, at + 2))

    log.start(cursor)

    assert numbers(log.rest()) == list(range(3, 9))
    assert log.gaps == []


def test_rotations_that_were_compressed_while_away_are_caught_up(log: Log) -> None:
    log.append(numbered(0, 5))
    log.start()
    first = log.take(2)
    cursor = log.tail.cursor()
    log.tail.close()
    for at in (5, 7):
        log.append(numbered(at, at + 1))
        log.rotate()
        log.append(numbered(at + 1, at + 2))
    packed(log.root / "log.2")
    packed(log.root / "log.1")

    log.start(cursor)

    assert numbers(first + log.rest()) == list(range(9))
    assert log.gaps == []


def test_a_crash_in_the_middle_of_a_compressed_rotation_repeats_and_loses_nothing(
    log: Log,
) -> None:
    log.append(numbered(0, 9))
    log.start()
    told = log.take(2)
    cursor = log.tail.cursor()
    log.tail.close()
    log.rotate()
    log.append(numbered(9, 10))
    packed(log.root / "log.1")
    for _ in range(3):
        log.start(cursor)
        told += log.take(3)
        cursor = log.tail.cursor()

    assert numbers(told + log.rest()) == list(range(10))
    assert log.gaps == []


def test_nothing_is_passed_over_while_a_compressed_rotation_is_waited_for(log: Log) -> None:
    log.append(numbered(0, 2))
    log.start()
    log.take(1)
    cursor = log.tail.cursor()
    log.rotate()
    log.append(numbered(2, 3))
    packed(log.root / "log.1")

    tail = log.a_tail()
    tail.start(cursor, 0)
    waiting = tail.take(9, 0)
    kept = tail.cursor()
    tail.take_unpacked(-1)
    after = tail.take(9, 0)
    tail.close()

    assert (waiting.lines, waiting.gaps, waiting.is_at_end) == ([], [], True)
    assert kept == cursor
    assert [line.text.decode() for line in after.lines] == numbered(2, 3).splitlines()
    assert after.gaps == ["a file that was read before is gone, compressed or rewritten"]


def test_a_truncating_rotation_whose_copy_was_compressed_is_caught_up_and_a_gap(log: Log) -> None:
    log.append(numbered(0, 5))
    log.start()
    first = log.take(2)
    cursor = log.tail.cursor()
    log.tail.close()
    log.copytruncate()
    packed(log.root / "log.1")
    log.append(numbered(5, 6))

    log.start(cursor)

    assert numbers(first + log.rest()) == list(range(6))
    assert log.gaps == ["truncated: what was written just before is lost"]


def test_a_rotation_that_was_compressed_while_away_and_is_damaged_is_a_gap(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.rest()
    cursor = log.tail.cursor()
    log.append(numbered(3, 4))
    log.rotate()
    (log.root / "log.1").rename(log.root / "log.1.gz")
    log.append(numbered(4, 5))

    log.start(cursor)

    assert numbers(log.rest()) == [4]
    assert log.gaps == ["a file that was read before is gone, compressed or rewritten"]


def test_an_inode_that_is_given_again_is_no_known_file(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.rest()
    cursor = log.tail.cursor()
    log.path.write_text(numbered(100, 110), "ascii")  # the same inode, other lines

    log.start(cursor)

    assert numbers(log.rest()) == list(range(100, 110))
    assert len(log.gaps) == 1


def test_a_truncation_is_a_gap_and_reading_begins_anew(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.rest()

    os.truncate(log.path, 0)
    log.append(numbered(3, 5))

    assert numbers(log.rest()) == [3, 4]
    assert log.gaps == ["truncated: what was written just before is lost"]


def test_a_truncation_that_left_a_copy_loses_nothing_of_the_copy(log: Log) -> None:
    log.append(numbered(0, 10))
    log.start()
    first = log.take(4)
    log.append(numbered(10, 12))
    shutil.copy(log.path, log.root / "log.1")
    os.truncate(log.path, 0)
    log.append(numbered(12, 14))

    assert numbers(first + log.rest()) == list(range(14))
    assert len(log.gaps) == 1


def test_a_truncation_while_away_is_caught_up_from_its_copy(log: Log) -> None:
    log.append(numbered(0, 10))
    log.start()
    first = log.take(4)
    cursor = log.tail.cursor()
    shutil.copy(log.path, log.root / "log.1")
    os.truncate(log.path, 0)
    log.append(numbered(10, 12))

    log.start(cursor)

    assert numbers(first + log.rest()) == list(range(12))
    assert log.gaps == ["truncated: what was written just before is lost"]


def test_at_the_first_start_only_the_end_of_the_history_is_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(numbered(0, 100), "ascii")

    with HostRoot(tmp_path) as host:
        tail = Tail(host, "/log", 100)
        tail.start(b"", 0)
        lines = tail.take(100, 0).lines
        tail.close()

    assert numbers([line.text.decode() for line in lines]) == [98, 99]


def test_a_log_that_comes_after_us_is_read_from_its_beginning(log: Log) -> None:
    log.start()
    before = log.rest()
    problem = log.tail.problem
    log.append(numbered(0, 3))
    after = log.rest()
    again = log.tail.cursor()

    assert (before, problem) == ([], Tail.MISSING)
    assert numbers(after) == [0, 1, 2]
    log.start(again)
    assert log.rest() == []


@pytest.mark.parametrize("is_rotated", [True, False])
def test_the_first_lines_of_an_empty_log_are_read_without_another_reason(
    log: Log, *, is_rotated: bool
) -> None:
    log.append(numbered(0, 1) if is_rotated else "")
    log.start()
    first = log.rest()
    if is_rotated:
        log.rotate()
        log.rest()
    log.append(numbered(1, 3))

    assert numbers(log.rest()) == [1, 2]
    assert numbers(first) == ([0] if is_rotated else [])


def test_a_log_that_was_missing_at_the_last_stop_is_read_from_its_beginning(log: Log) -> None:
    log.start()
    cursor = log.tail.cursor()
    log.append(numbered(0, 3))

    log.start(cursor)

    assert numbers(log.rest()) == [0, 1, 2]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_a_problem_and_never_opened(log: Log, make: object) -> None:
    assert callable(make)
    make(log.path)

    log.start()

    assert log.rest() == []
    assert "is not a regular file" in log.tail.problem or "neither" in log.tail.problem


@pytest.mark.parametrize(
    "cursor", [b"", b"x", b"\x90", b"\x91\x90", b"\xdd\xff\xff\xff\xff", bytes(99)]
)
def test_any_cursor_starts(log: Log, cursor: bytes) -> None:
    log.append(numbered(0, 3))

    log.start(cursor)

    assert numbers(log.rest()) == [0, 1, 2]


def broken(log: Log, which: int) -> None:
    """Let reading of one followed file fail, as on a failing disk."""
    directory = os.open(log.root, os.O_RDONLY)
    os.dup2(directory, log.tail.files()[which].fd)
    os.close(directory)


def test_a_log_that_cannot_be_read_on_is_a_problem_and_tried_again(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.take(1)
    cursor = log.tail.cursor()

    broken(log, 0)
    lines = log.take()
    problem = log.tail.problem
    log.start(cursor)

    assert lines == []
    assert problem.startswith("cannot be read")
    assert numbers(log.rest()) == [1, 2]
    assert log.tail.problem == ""


def test_a_rotated_file_that_cannot_be_read_on_is_a_gap(log: Log) -> None:
    log.append(numbered(0, 3))
    log.start()
    log.rest()
    log.rotate()
    log.append(numbered(3, 5))
    log.rest()

    broken(log, 0)

    assert log.rest() == []
    assert log.gaps == ["a rotated file cannot be read on"]
    assert len(log.tail.files()) == 1


def test_more_rotations_than_are_followed_are_a_gap(log: Log) -> None:
    log.append(numbered(0, 1))
    log.start()
    log.rest()
    for at in range(1, 16):
        log.append(numbered(at, at + 1))
        log.rotate()
    first = log.rest()
    for at in range(16, 22):
        log.append(numbered(at, at + 1))
        log.rotate()

    second = log.rest()

    assert numbers(first) == list(range(1, 16))
    assert numbers(second) == list(range(16, 22))
    assert log.gaps == ["more rotations than are followed at once"] * 5


def test_a_log_we_may_not_read_is_a_problem_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(numbered(0, 3), "ascii")
    disk = FailingDisk()
    disk.fail(b"/log", errno.EACCES)

    with HostRoot(tmp_path, disk) as host:
        tail = Tail(host, "/log", HISTORY_BYTES)
        tail.start(b"", 0)
        refused = tail.problem
        disk.mend()
        lines = [*tail.take(9, 0).lines, *tail.take(9, 0).lines]
        tail.close()

    assert refused == "/log: permission denied"
    assert numbers([line.text.decode() for line in lines]) == [0, 1, 2]


ROTATE = """
{log} {{
    size 1
    rotate 20
    {how}
    missingok
    su root root
}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "every"),
    [
        ("create", 9),
        ("nocreate", 9),
        ("compress\ndelaycompress", 9),
        ("create\ndateext\ndateformat -%Y%m%d-%s", 45),  # no two within a second
    ],
)
def test_the_real_logrotate_loses_and_repeats_nothing_by_rename(
    log: Log, pytestconfig: pytest.Config, how: str, every: int
) -> None:
    rotate = a_logrotate(log, pytestconfig, how)
    log.path.touch()
    log.start()
    told: list[str] = []
    for at in range(0, 90, 3):
        with log.path.open("a", encoding="ascii") as writer:
            writer.write(numbered(at, at + 2))
            writer.flush()
            if at % 4 == 0:
                told += log.rest()
            if at % every == 0:
                time.sleep(1.1 if "dateext" in how else 0)
                rotate()
            writer.write(numbered(at + 2, at + 3))  # it is told to reopen after this
        if at % 30 == 0:
            log.start(log.tail.cursor())

    assert sorted(numbers(told + log.rest())) == list(range(90))
    assert log.gaps == []


@pytest.mark.slow
def test_the_real_logrotate_truncating_a_copy_loses_nothing_unsaid(
    log: Log, pytestconfig: pytest.Config
) -> None:
    rotate = a_logrotate(log, pytestconfig, "copytruncate")
    log.start()
    told: list[str] = []
    for at in range(0, 60, 3):
        log.append(numbered(at, at + 3))
        if at % 2 == 0:
            told += log.take(2)
        if at % 9 == 0:
            rotate()

    assert sorted(numbers(told + log.rest())) == list(range(60))
    assert log.gaps


def a_logrotate(log: Log, pytestconfig: pytest.Config, how: str) -> Callable[[], None]:
    """Return what rotates the log once, as cron would."""
    cache = pytestconfig.cache
    assert cache is not None
    root = extracted(cache.mkdir("debian"), "logrotate", "libpopt0")
    home = log.root.parent / f"{log.root.name}-rotate"
    home.mkdir()
    (home / "conf").write_text(
        ROTATE.format(log=log.path, how=how.replace("\n", "\n    ")), "ascii"
    )
    (home / "conf").chmod(0o644)
    program = next(root.rglob("sbin/logrotate"))

    def rotate() -> None:
        done = subprocess.run(
            [program, "--force", "--state", home / "state", home / "conf"],
            env=libraries(root),
            capture_output=True,
            check=False,
            timeout=20,
        )
        if done.returncode != 0:
            pytest.skip(f"logrotate does not run here: {done.stderr[-200:]!r}")

    return rotate


WHOLE = re.compile(
    r"line (\d+) (?:of a log that has a beginning|is (?:a line in two pieces|finished))"
)


def whole(lines: list[str]) -> list[int]:
    """Return the numbers of the lines that came whole; truncation leaves pieces of others."""
    return [int(found[1]) for line in lines if (found := WHOLE.fullmatch(line))]


class Rotations(RuleBasedStateMachine):
    """A writer that appends and is told late to reopen, rotations by rename, restarts, crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.log = Log(Path(self.directory.name))
        self.log.path.touch()
        self.writer = self.log.path.open("a", encoding="ascii", buffering=1)
        self.written = 0
        self.rotations = 0
        self.has_half = False
        self.at = time.time_ns()
        self.sealed: list[int] = []
        self.waiting: list[int] = []
        self.sealed_gaps: list[str] = []
        self.log.start()
        self.cursor = self.log.tail.cursor()

    @rule(count=st.integers(1, 5))
    def append(self, count: int) -> None:
        if self.has_half:
            self.writer.write("a line in two pieces\n")
            self.has_half = False
        self.writer.write(numbered(self.written, self.written + count))
        self.writer.flush()
        self.written += count
        self.wrote()
        self.stamp(self.writer.fileno())

    @precondition(lambda self: not self.has_half)
    @rule()
    def append_half(self) -> None:
        self.writer.write(f"line {self.written} is ")
        self.writer.flush()
        self.written += 1
        self.has_half = True
        self.wrote()
        self.stamp(self.writer.fileno())

    def wrote(self) -> None:
        """Take note of what the writer has just written."""

    @precondition(lambda self: self.rotations < 12)
    @rule()
    def rotate(self) -> None:
        self.log.rotate()
        self.stamp(self.log.path)
        self.rotations += 1

    @rule()
    def reopen(self) -> None:
        if not self.has_half:
            self.writer.close()
            self.writer = self.log.path.open("a", encoding="ascii", buffering=1)

    @rule(count_max=st.integers(1, 6))
    def take(self, count_max: int) -> None:
        self.waiting += whole(self.log.take(count_max))

    @rule()
    def take_all(self) -> None:
        self.waiting += whole(self.log.rest())

    @rule()
    def seal(self) -> None:
        self.sealed += self.waiting
        self.waiting = []
        self.sealed_gaps = list(self.log.gaps)
        self.cursor = self.log.tail.cursor()

    @rule()
    def restart(self) -> None:
        self.seal()
        self.log.start(self.cursor)

    @rule()
    def crash(self) -> None:
        self.waiting = []
        self.log.gaps = list(self.sealed_gaps)
        self.log.start(self.cursor)

    def stamp(self, file: Path | int) -> None:
        """Each write is later than the last one by more than a tick of a coarse file system."""
        self.at += 10_000_000
        os.utime(file, ns=(self.at, self.at))

    @invariant()
    def nothing_comes_twice(self) -> None:
        told = self.sealed + self.waiting
        assert len(told) == len(set(told))

    def teardown(self) -> None:
        if self.has_half:
            self.writer.write("finished\n")
            self.writer.flush()
            self.stamp(self.writer.fileno())
        self.writer.close()
        try:
            self.waiting += whole(self.log.rest())
            self.log.now += LINGER_NS
            self.waiting += whole(self.log.rest())
            self.nothing_comes_twice()
            self.nothing_is_lost_unsaid()
        finally:
            self.log.close()
            self.directory.cleanup()

    def nothing_is_lost_unsaid(self) -> None:
        assert sorted(self.sealed + self.waiting) == list(range(self.written))
        assert self.log.gaps == []


class HostileRotations(Rotations):
    """Also truncation with and without a copy, compression, deletion, and inodes given again.

    Only lines that were in a file when it was destroyed may be missing, and only with a gap said;
    but of what is written to a file without a name while we are away nobody can know.
    """

    def __init__(self) -> None:
        super().__init__()
        self.destroyed: set[int] = set()
        self.nameless: set[int] = set()
        self.known = 0

    @precondition(lambda self: self.rotations < 12)
    @rule(unseen=st.integers(0, 4))
    def copytruncate(self, unseen: int) -> None:
        self.be_known(unseen)
        self.note(self.log.path)
        self.log.copytruncate()
        self.stamp(self.log.root / "log.1")
        self.stamp(self.log.path)
        self.rotations += 1

    @rule(unseen=st.integers(0, 4))
    def truncate(self, unseen: int) -> None:
        self.be_known(unseen)
        self.note(self.log.path)
        os.truncate(self.log.path, 0)
        self.stamp(self.log.path)

    def be_known(self, unseen: int) -> None:
        """A file that came and was truncated between two looks cannot be known to have been."""
        self.reopen()
        self.append(1)
        self.take_all()
        self.seal()
        if unseen:
            self.append(unseen)

    @rule(which=st.integers(0, 20))
    def compress(self, which: int) -> None:
        if path := self.a_rotated(which):
            self.note(path)
            packed(path)

    @rule(which=st.integers(0, 20))
    def delete(self, which: int) -> None:
        if path := self.a_rotated(which):
            self.remove(path)

    @precondition(lambda self: self.rotations < 12)
    @rule(which=st.integers(0, 20))
    def rotate_onto_an_old_inode(self, which: int) -> None:
        self.take_all()
        self.seal()  # as in `be_known`
        path = self.a_rotated(which)
        if path is None:
            return
        self.note(path)
        spare = self.log.root / "spare"
        path.rename(spare)
        os.truncate(spare, 0)
        self.log.rotate(create=False)
        spare.rename(self.log.path)
        self.stamp(self.log.path)
        self.rotations += 1

    def a_rotated(self, which: int) -> Path | None:
        found = sorted(n for n, ending in self.log.rotated() if not ending)
        return self.log.root / f"log.{found[which % len(found)]}" if found else None

    def remove(self, path: Path) -> None:
        self.note(path)
        path.unlink()

    def wrote(self) -> None:
        if os.fstat(self.writer.fileno()).st_nlink == 0:
            self.nameless |= set(range(self.known, self.written))
        self.known = self.written

    def note(self, path: Path) -> None:
        """Remember what is in a file that is about to be destroyed."""
        if path.exists():
            lines = path.read_text("ascii").replace("\0", "").splitlines()
            self.destroyed |= {int(x.split()[1]) for x in lines if x.startswith("line ")}
        if self.has_half:
            self.destroyed.add(self.written - 1)

    def nothing_is_lost_unsaid(self) -> None:
        lost = set(range(self.written)) - {*self.sealed, *self.waiting}
        assert lost <= self.destroyed | self.nameless
        assert not lost - self.nameless or self.log.gaps


def test_what_was_inflated_and_sealed_is_not_told_again_after_a_crash() -> None:
    run = HostileRotations()

    run.copytruncate(2)
    run.rotate()
    run.append(1)  # by a writer that was not told to reopen
    run.compress(0)
    run.compress(0)
    run.crash()
    run.take_all()
    run.seal()
    run.crash()
    run.take_all()

    assert sorted(run.sealed + run.waiting) == [0, 1, 2, 3]
    run.teardown()


def of(machine: type[RuleBasedStateMachine], examples: int) -> type:
    """Return a test of a machine that tries the same examples each time."""
    same = settings(max_examples=examples, stateful_step_count=30, deadline=None, derandomize=True)
    return type(f"Test{machine.__name__}", (machine.TestCase,), {"settings": same})


TestRotations = of(Rotations, 40)
TestHostileRotations = of(HostileRotations, 40)
TestManyRotations = pytest.mark.prove(pytest.mark.timeout(900)(of(Rotations, 2000)))
TestManyHostileRotations = pytest.mark.prove(pytest.mark.timeout(900)(of(HostileRotations, 5000)))
