"""Mounts are told apart by what the kernel says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.filemounts import FileMount, mount_of, mount_points

MOUNTINFO = b"""\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/l,upperdir=/u\\0401,workdir=/w
31 22 0:41 / /read\\040only ro - overlay overlay ro,lowerdir=/l
32 22 0:42 / /relative rw - overlay overlay rw,upperdir=up,workdir=wo
33 22 0:43 / /mnt/nfs rw - nfs4 server:/ rw
34 22 0:44 / /mnt/fuse rw master:2 - fuse.sshfs remote rw
35 22
"""  # noqa: E501


@pytest.mark.parametrize(
    ("mount_id", "mount"),
    [
        (22, FileMount(b"ext4", b"/", b"", is_remote=False)),
        (
            30,
            FileMount(b"overlay", b"/var/lib/docker/overlay2/x/merged", b"/u 1", is_remote=False),
        ),
        (31, FileMount(b"overlay", b"/read only", b"", is_remote=False)),
        (32, FileMount(b"overlay", b"/relative", b"", is_remote=False)),
        (33, FileMount(b"nfs4", b"/mnt/nfs", b"", is_remote=True)),
        (34, FileMount(b"fuse.sshfs", b"/mnt/fuse", b"", is_remote=True)),
        (35, None),
        (2, None),
    ],
)
def test_a_mount_is_found_by_its_number(mount_id: int, mount: FileMount | None) -> None:
    assert mount_of(MOUNTINFO, mount_id) == mount


def test_every_whole_line_is_a_mount_point() -> None:
    assert mount_points(MOUNTINFO) == [
        b"/",
        b"/var/lib/docker/overlay2/x/merged",
        b"/read only",
        b"/relative",
        b"/mnt/nfs",
        b"/mnt/fuse",
    ]


@given(st.binary(max_size=500), st.integers(0, 100))
def test_any_bytes_are_mounts_or_nothing(data: bytes, mount_id: int) -> None:
    mount_of(data, mount_id)
    mount_of(b"%d %s" % (mount_id, data), mount_id)
    mount_points(data)
