from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.mounts import remote_mounts

LINES = b"""\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:27 / /srv/nfs rw shared:9 master:3 - nfs4 server:/x rw
32 22 0:28 / /home/a\\040b/remote rw - fuse.sshfs a@b: rw
33 22 0:29 / /tmp rw - tmpfs tmpfs rw
"""


def test_a_mount_behind_a_server_is_remote() -> None:
    assert remote_mounts(LINES) == {22: False, 31: True, 32: True, 33: False}


def test_what_lies_on_the_device_of_the_root_is_not_remote() -> None:
    lines = (
        b"22 1 0:20 / / rw - nfs4 server:/root rw\n"
        b"23 22 0:20 /opt /opt rw - nfs4 server:/root rw\n"
        b"24 22 0:21 / /srv rw - nfs4 server:/srv rw\n"
    )

    assert remote_mounts(lines) == {22: False, 23: False, 24: True}


def test_lines_that_are_none_are_passed_over() -> None:
    assert remote_mounts(b"\nx y\n1 2 3\n" + b"9" * 30 + b" 1 0:1 / / rw - ext4 a b\n") == {}


@given(data=st.binary(max_size=300))
def test_any_bytes_give_mounts_or_none(data: bytes) -> None:
    assert all(isinstance(mount, int) for mount in remote_mounts(data))


def test_the_root_of_this_host_is_not_remote() -> None:
    found = remote_mounts(Path("/proc/self/mountinfo").read_bytes())

    assert found
    assert not all(found.values())
