"""A walk begins once at each local file system and never at one that may not answer."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.places import Places, below, parse_places, read_places
from tests.agent.sense.sensors.persist.looking import put

MOUNTS = rb"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 8:2 /sub /data rw - xfs /dev/sdb rw
23 21 8:2 / /all\040data rw - xfs /dev/sdb rw
24 21 0:5 / /proc rw - proc proc rw
25 21 0:40 / /net rw - nfs4 server:/ rw
26 21 0:41 / /fuse rw - fuse.sshfs x rw
27 21 0:42 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw
28 21 0:43 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
29 21 8:1 /etc /chroot/etc rw - ext4 /dev/sda1 rw
bad line
x 21 8:1 / /y rw - ext4 z rw
"""


def test_walks_begin_at_local_file_systems_where_special_bits_count() -> None:
    places = parse_places(MOUNTS)

    assert places.starts == ("/", "/all data", "/var/lib/docker/overlay2/x/merged")
    assert places.remote == ("/net", "/fuse")
    assert {"/proc", "/data", "/chroot/etc", "/tmp"} <= places.points
    assert "/y" not in places.points
    assert {"", "/var/lib/docker/overlay2/x"} <= places.parents


def test_a_host_that_does_not_tell_its_mounts_is_its_root(tmp_path: Path) -> None:
    assert read_places(HostRoot(tmp_path)) == Places()
    put(tmp_path, "/proc/1/mountinfo", MOUNTS)
    assert read_places(HostRoot(tmp_path)).remote == ("/net", "/fuse")


@given(
    data=st.binary(max_size=300)
    | st.from_regex(rb"([0-9]{1,3} 1 8:[0-9] / /[a\\0-7]{0,9} rw - (ext4|nfs) x\n){0,5}")
)
def test_any_bytes_are_places(data: bytes) -> None:
    places = parse_places(data)

    assert places.starts
    assert set(places.remote) <= places.points


def test_each_part_of_a_file_system_is_walked_once() -> None:
    parts = rb"""30 1 0:30 /@ / rw - btrfs /dev/sda rw
31 30 0:30 /@home /home rw - btrfs /dev/sda rw
32 30 0:30 /@/etc /chroot/etc rw - btrfs /dev/sda rw
33 30 0:31 / /usr rw - overlay sysext rw
"""

    assert parse_places(parts).starts == ("/", "/home", "/usr")


def test_a_path_lies_below_itself_and_what_is_above() -> None:
    assert below("/a/b", ["/a"])
    assert below("/a", ["/a"])
    assert below("/a", ["/"])
    assert not below("/ab", ["/a"])
