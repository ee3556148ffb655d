import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.files import AlreadyRunning, FileLock, fsync_dir, is_locked, write_atomic

HOLDER = """
import sys
from pathlib import Path
from runtime.files import FileLock
FileLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_new_content_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    write_atomic(path, b"new" * 100_000)

    assert path.read_bytes() == b"new" * 100_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    old = os.umask(0o077)

    try:
        write_atomic(path, b"x", mode=mode)
    finally:
        os.umask(old)

    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_reader_of_the_old_file_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"old")

    with path.open("rb") as reader:
        write_atomic(path, b"new")

        assert reader.read() == b"old"


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        write_atomic(path, b"new")

    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_a_directory_that_does_not_exist_cannot_be_synced(tmp_path: Path) -> None:
    fsync_dir(tmp_path)

    with pytest.raises(FileNotFoundError):
        fsync_dir(tmp_path / "none")


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(AlreadyRunning) as caught:
            lock.acquire()
        written = path.read_text()
        holder.kill()
        holder.wait()
        lock.acquire()

    assert caught.value.exit_code == 7
    assert written == f"{holder.pid}\n"
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_released_lock_is_free_and_releasing_twice_is_harmless(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()

    first.release()
    first.release()

    second.acquire()
    second.release()


def test_a_lock_shows_from_outside(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")
    lock.acquire()

    assert is_locked(tmp_path / "lock")

    lock.release()
    assert not is_locked(tmp_path / "lock")
