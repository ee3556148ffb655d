"""Every file system that could hold programs is marked once, and what is not is said."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors import fanotify
from agent.sense.sensors.execmarks import BEYOND, HIDDEN, REMOTE, ExecMarks
from agent.sense.sensors.fanotify import FanotifyRefused, Group
from agent.sense.sensors.mounts import parse_mounts

OWN = Path("/proc/self/mountinfo")


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        opened = fanotify.for_descriptors()
    except FanotifyRefused as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def a_line(number: int, dev: int, path: Path | str, kind: str) -> bytes:
    device = f"{os.major(dev)}:{os.minor(dev)}"
    return f"{number} 1 {device} / {path} rw - {kind} none rw\n".encode()


def device_of(path: Path | str) -> int:
    return Path(path).stat().st_dev


@pytest.mark.root
def test_this_hosts_file_systems_are_marked_and_interfaces_of_the_kernel_are_not(
    group: Group,
) -> None:
    marks = ExecMarks(group, HostRoot())

    marks.renew(OWN.read_bytes())

    assert marks.by_device[device_of("/")].refused == ""
    assert device_of("/proc") not in marks.by_device
    assert marks.missing(by_nature=False) == []


@pytest.mark.root
def test_a_file_system_mounted_twice_has_one_mark(group: Group, tmp_path: Path) -> None:
    marks = ExecMarks(group, HostRoot())
    dev = device_of(tmp_path)

    marks.renew(a_line(1, dev, tmp_path, "ext4") + a_line(2, dev, tmp_path / "again", "ext4"))

    assert {dev: mark.path for dev, mark in marks.by_device.items()} == {
        dev: str(tmp_path).encode()
    }


@pytest.mark.root
def test_what_lies_behind_a_server_is_not_touched_nor_what_lies_below_it(
    group: Group, tmp_path: Path
) -> None:
    marks = ExecMarks(group, HostRoot())
    table = a_line(1, 77, "/data", "nfs4") + a_line(2, 78, "/data/below", "ext4")

    marks.renew(table + a_line(3, device_of(tmp_path), tmp_path, "ext4"))

    refused = {mark.path: mark.refused for mark in marks.by_device.values()}
    assert refused == {b"/data": REMOTE, b"/data/below": REMOTE, str(tmp_path).encode(): ""}
    assert marks.missing(by_nature=True) == [
        f"/data (nfs4): {REMOTE}",
        f"/data/below (ext4): {REMOTE}",
    ]


@pytest.mark.root
def test_a_mount_that_another_hides_or_that_is_gone_is_said(group: Group, tmp_path: Path) -> None:
    marks = ExecMarks(group, HostRoot())

    marks.renew(a_line(1, 77, tmp_path, "ext4") + a_line(2, 78, tmp_path / "gone", "ext4"))

    assert [mark.refused for mark in marks.by_device.values()] == [
        HIDDEN,
        "no such file or directory",
    ]
    [missing] = marks.missing(by_nature=False)
    assert missing.endswith("(ext4): no such file or directory")


@pytest.mark.root
def test_many_refusals_are_counted_and_a_few_named(group: Group) -> None:
    marks = ExecMarks(group, HostRoot())

    marks.renew(b"".join(a_line(n, 100 + n, f"/gone{n}", "ext4") for n in range(9)))

    missing = marks.missing(by_nature=False)
    assert len(missing) == 4
    assert missing[-1] == "6 more"


@pytest.mark.root
def test_there_is_a_limit_and_what_is_beyond_it_is_said(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sense.sensors.execmarks.SUPERBLOCKS_MAX", 2)
    marks = ExecMarks(group, HostRoot())

    marks.renew(b"".join(a_line(n, 100 + n, f"/gone{n}", "ext4") for n in range(5)))

    assert len(marks.by_device) == 2
    assert f"3 file systems {BEYOND}" in marks.missing(by_nature=False)


@pytest.mark.root
def test_an_overlay_is_known_by_its_device(group: Group) -> None:
    marks = ExecMarks(group, HostRoot())

    marks.renew(a_line(1, 100, "/gone", "overlay") + a_line(2, 101, "/gone2", "ext4"))

    assert marks.is_overlay(100)
    assert not marks.is_overlay(101)
    assert not marks.is_overlay(102)


def test_a_mount_table_is_read_line_by_line_and_paths_are_unescaped() -> None:
    table = b"1 0 8:1 / /a\\040b rw - ext4 none rw\nno line\n2 1 0:5 / /p rw - proc p rw\n"

    mounts = parse_mounts(table)

    assert [(mount.id, mount.dev, mount.path, mount.is_pseudo) for mount in mounts] == [
        (1, os.makedev(8, 1), b"/a b", False),
        (2, os.makedev(0, 5), b"/p", True),
    ]
