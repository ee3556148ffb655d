"""A handle leads back to the directory it was taken of, wherever that has gone."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.filehandles import fsid_of, handle_of, open_directory, path_of


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def test_a_handle_leads_back_after_a_rename_and_nowhere_after_a_removal(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    top, fd = opened(tmp_path), opened(tmp_path / "d")
    try:
        kind, handle = handle_of(fd)
        (tmp_path / "d").rename(tmp_path / "e")
        try:
            found = open_directory(top, kind, handle)
        except PermissionError:
            pytest.skip("opening handles is not permitted here")
        path = path_of(found)
        os.close(found)
        os.close(fd)
        (tmp_path / "e").rmdir()
        with pytest.raises(OSError, match="Stale"):
            open_directory(top, kind, handle)
    finally:
        os.close(top)

    assert path == os.fsencode(tmp_path / "e")


def test_a_file_system_has_one_name_and_others_have_others(tmp_path: Path) -> None:
    fds = [opened(path) for path in (tmp_path, tmp_path.parent, Path("/proc"))]

    names = [fsid_of(fd) for fd in fds]
    for fd in fds:
        os.close(fd)

    assert names[0] == names[1] != names[2]


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=128))
def test_any_bytes_are_a_directory_or_an_os_error(kind: int, handle: bytes) -> None:
    top = opened(Path("/"))
    try:
        os.close(open_directory(top, kind, handle))
    except OSError:
        pass
    finally:
        os.close(top)
