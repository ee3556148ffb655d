"""A log's rotated brothers are found in the order they were written."""

import os
from pathlib import Path

import pytest

from agent.hostroot import HostFileNotRegular, HostRoot
from agent.sense.sensors.logfamily import SIBLINGS_MAX, compressed, open_log, open_rotated


def rotated(root: Path) -> list[bytes]:
    """Return the content of each brother of /log, in the order found."""
    found = []
    for file in open_rotated(HostRoot(root), b"/log"):
        found += [line.text for line in file.take(1)]
        file.close()
    return found


def write(root: Path, *names: str) -> None:
    for at, name in enumerate(names):
        (root / name).write_text(name + "\n", "ascii")
        os.utime(root / name, ns=(at, at))


def test_numbers_count_backwards_whatever_the_times_say(tmp_path: Path) -> None:
    write(tmp_path, "log", "log.1", "log.10", "log.2")

    assert rotated(tmp_path) == [b"log.10", b"log.2", b"log.1"]


def test_dates_go_by_the_time_of_writing(tmp_path: Path) -> None:
    write(tmp_path, "log-20261120", "log-20261119", "log.old", "log")

    assert rotated(tmp_path) == [b"log-20261120", b"log-20261119", b"log.old"]


def test_compressed_files_other_logs_and_odd_things_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "log.2.gz", "log.3.xz", "logs.1", "other.log.1", "log.1")
    (tmp_path / "log.4").mkdir()
    os.mkfifo(tmp_path / "log.5")

    assert rotated(tmp_path) == [b"log.1"]


def test_a_log_whose_name_only_begins_alike_is_no_brother(tmp_path: Path) -> None:
    write(tmp_path, "log-errors", "log.conf", "log.json", "log.1.copy", "log.2", "log-2026-11-20")

    assert rotated(tmp_path) == [b"log.2", b"log-2026-11-20"]


def test_compressed_brothers_are_known_by_when_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, "log.1.gz", "log.2.gz", "other.gz", "log.3", "log-20261120.xz")

    with HostRoot(tmp_path) as host:
        times = compressed(host, b"/log")

    assert times == {0, 1, 4}


def test_only_the_newest_are_opened(tmp_path: Path) -> None:
    write(tmp_path, *(f"log.{number}" for number in range(1, 40)))

    assert rotated(tmp_path) == [b"log.%d" % number for number in range(SIBLINGS_MAX, 0, -1)]


def test_a_missing_directory_has_no_brothers(tmp_path: Path) -> None:
    assert open_rotated(HostRoot(tmp_path), b"/missing/log") == []


def test_a_log_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")

    with pytest.raises(HostFileNotRegular):
        open_log(HostRoot(tmp_path), b"/log")
