"""The table of files shows what is in the trees and changes nothing."""

import errno
import os
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.filelist import file_rows
from agent.sense.sensors.filetrees import FileSettings, Tree
from tests.fakes.disk import FailingDisk


def rows(root: Path, **settings: object) -> list[dict[str, object]]:
    return list(file_rows(FileSettings(**settings), HostRoot(root)))  # type: ignore[arg-type]


def test_a_row_says_what_is_known_without_reading(tmp_path: Path) -> None:
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/file").write_bytes(b"12345")
    (tmp_path / "tree/d/file").chmod(0o4750)
    os.mkfifo(tmp_path / "tree/fifo")

    fifo, file = rows(tmp_path, trees=(Tree("/tree"),))

    assert fifo["type"] == "fifo"
    assert file == {
        "path": "/tree/d/file",
        "type": "file",
        "size_bytes": 5,
        "mode": "4750",
        "uid": os.getuid(),
        "gid": (tmp_path / "tree/d/file").stat().st_gid,
        "changed": (tmp_path / "tree/d/file").stat().st_ctime_ns,
    }


def test_excludes_limits_missing_trees_and_single_files_are_as_for_the_sensor(
    tmp_path: Path,
) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("a", "b", "c.swp"):
        (tmp_path / "tree" / name).touch()

    all_rows = rows(tmp_path, trees=(Tree("/missing"), Tree("/tree", exclude=("*.swp",))))
    limited = rows(tmp_path, trees=(Tree("/tree"),), entries_max=2)
    single = rows(tmp_path, trees=(Tree("/tree/a"),))

    assert [row["path"] for row in all_rows] == ["/tree/a", "/tree/b"]
    assert len(limited) == 2
    assert [row["path"] for row in single] == ["/tree/a"]


def test_no_directory_is_walked_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/loop").symlink_to(".")

    assert [row["type"] for row in rows(tmp_path, trees=(Tree("/tree"),))] == ["symbolic link"]


def test_what_cannot_be_listed_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/a").touch()
    disk = FailingDisk()
    disk.fail(b"/tree/d", errno.EACCES)
    missed: list[str] = []

    with HostRoot(tmp_path, disk) as host:
        found = list(file_rows(FileSettings(trees=(Tree("/tree"),)), host, missed.append))

    assert [row["path"] for row in found] == ["/tree/a"]
    assert missed == ["/tree/d: permission denied"]


def test_a_list_that_is_cut_is_said(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(5):
        (tmp_path / "tree" / str(number)).touch()
    missed: list[str] = []

    with HostRoot(tmp_path) as host:
        settings = FileSettings(trees=(Tree("/tree"),), entries_max=2)
        found = list(file_rows(settings, host, missed.append))

    assert len(found) == 2
    assert missed == ["more than 2 files are not listed"]
