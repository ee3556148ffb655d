"""Every file with special rights is found, once, without leaving its file system."""

import hashlib
import os
import struct
from pathlib import Path

import pytest
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.filecaps import XATTR
from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.places import Places
from agent.sense.sensors.persist.setuid import SLICE_BYTES, Area, walk
from proto.model import Persistence
from tests.agent.sense.sensors.persist.looking import a_look, as_nobody, put


def walked(
    root: Path,
    look: Look | None = None,
    *,
    exclude: str = "/none",
    points: str = "",
    most: int = 1000,
) -> list[Persistence]:
    places = Places(points=frozenset({points}))
    area = Area(places, frozenset({exclude}), most)
    steps = walk(look or a_look(root), HostRoot(root), area)
    return sorted((one.item for one in steps if one is not None), key=lambda item: item.path)


def test_set_user_id_and_set_group_id_files_are_found_with_their_digest(tmp_path: Path) -> None:
    put(tmp_path, "/usr/bin/su", "su", 0o4755)
    put(tmp_path, "/usr/bin/wall", "wall", 0o2755)
    put(tmp_path, "/usr/bin/ls", "ls", 0o755)
    put(tmp_path, "/srv/marked", "not executable", 0o4644)

    su, wall = walked(tmp_path)

    owner = tmp_path.stat()
    assert su.value == f"mode=4755 uid={owner.st_uid} gid={owner.st_gid}"
    assert (su.mechanism, su.sha256) == ("suid_file", hashlib.sha256(b"su").digest())
    assert wall.name == "wall"


def test_capabilities_of_a_file_are_found(tmp_path: Path) -> None:
    file = put(tmp_path, "/bin/ping", "ping", 0o755)
    try:
        os.setxattr(file, XATTR, struct.pack("<IIIII", 0x0200_0001, 1 << 7, 0, 0, 0))
    except OSError as error:
        pytest.skip(f"no file capabilities here: {error}")

    (item,) = walked(tmp_path)

    assert (item.mechanism, item.value) == ("file_capability", "cap_setuid=ep")


def test_links_other_mounts_and_what_is_left_out_are_not_followed(tmp_path: Path) -> None:
    for place in ("in", "mount", "out"):
        put(tmp_path, f"/{place}/su", "su", 0o4755)
    (tmp_path / "in/link").symlink_to("su")
    (tmp_path / "in/up").symlink_to("..")
    os.mkfifo(tmp_path / "in/fifo", 0o4755)

    found = walked(tmp_path, exclude="/out", points="/mount")

    assert [item.path for item in found] == ["/in/su"]


def test_a_file_that_is_a_mount_point_is_not_asked(tmp_path: Path) -> None:
    put(tmp_path, "/etc/su", "su", 0o4755)
    places = Places(points=frozenset({"/etc/su"}), parents=frozenset({"/etc"}))

    found = walk(a_look(tmp_path), HostRoot(tmp_path), Area(places, frozenset(), 9))

    assert [one for one in found if one is not None] == []


def test_a_walk_that_is_cut_says_so_and_keeps_what_was_known(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, f"/{number}/x", "x", 0o4755)
    look = a_look(tmp_path)

    walked(tmp_path, look, most=3)

    assert look.unread
    assert look.keeps("/anything")


def test_a_directory_that_goes_meanwhile_is_no_matter(tmp_path: Path) -> None:
    put(tmp_path, "/a/x", "x", 0o4755)
    put(tmp_path, "/b/x", "x", 0o4755)
    look = a_look(tmp_path)
    steps = walk(look, HostRoot(tmp_path), Area(Places(), frozenset(), 100))
    next(steps)  # the root
    next(steps)  # what it holds is known
    for name in "ab":
        (tmp_path / name / "x").unlink()
        (tmp_path / name).rmdir()

    assert [one for one in steps if one is not None] == []
    assert look.unread == {}


def test_names_of_any_bytes_are_told(tmp_path: Path) -> None:
    name = os.fsdecode(b"new\nline\xff")
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / name).chmod(0o4755)

    assert [item.name for item in walked(tmp_path)] == ["new\nline\\xff"]


def test_a_mount_below_what_is_left_out_is_left_out_too(tmp_path: Path) -> None:
    put(tmp_path, "/docker/x/merged/su", "su", 0o4755)
    places = Places(starts=("/docker/x/merged",))

    found = list(
        walk(a_look(tmp_path), HostRoot(tmp_path), Area(places, frozenset({"/docker"}), 9))
    )

    assert found == []


def test_a_directory_and_a_file_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    put(tmp_path, "/open/su", "su", 0o4711)
    put(tmp_path, "/shut/su", "su", 0o4755)
    tmp_path.chmod(0o755)
    (tmp_path / "shut").chmod(0o700)
    look = a_look(tmp_path)
    steps = walk(look, HostRoot(tmp_path), Area(Places(), frozenset(), 100))

    with as_nobody():
        found = [one.item for one in steps if one is not None]

    assert [(item.path, item.sha256, item.caveats) for item in found] == [
        ("/open/su", UNSET, ("longer than is read",))
    ]
    assert look.unread == {"/shut": "permission denied"}
    assert look.keeps("/shut/su")


def test_a_large_file_is_hashed_in_slices(tmp_path: Path) -> None:
    data = b"x" * (SLICE_BYTES * 3 + 1)
    put(tmp_path, "/su", data, 0o4755)

    steps = list(walk(a_look(tmp_path), HostRoot(tmp_path), Area(Places(), frozenset(), 100)))

    (found,) = (one for one in steps if one is not None)
    assert found.item.sha256 == hashlib.sha256(data).digest()
    assert steps.count(None) >= 4
