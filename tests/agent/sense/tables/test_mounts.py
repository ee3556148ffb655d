"""Mounts are those of process 1, in the order they were made."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables import mounts
from tests.agent.sense.tables.views import looking_at, shown, write

MOUNTINFO = (
    b"25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n"
    b"30 25 0:26 / /mnt/a\\040b rw,nosuid master:2 propagate_from:3 - nfs4 h:/x\\134y rw,vers=4.2\n"
    b"junk\n"
    b"31 25 0:27 /sub /c ro - tmpfs  rw\n"
)


def test_a_mount_has_its_options_and_spaces_in_its_names(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"proc/1/mountinfo": MOUNTINFO}))

    root, share, plain = shown(mounts.TABLE, looking)

    assert root["options"] == ["rw", "relatime", "errors=remount-ro"]
    assert (root["type"], root["device"], root["is_remote"]) == ("ext4", "254:0", False)
    assert (share["path"], share["source"]) == ("/mnt/a b", "h:/x\\y")
    assert (share["propagation"], share["is_remote"]) == (["master:2", "propagate_from:3"], True)
    assert (plain["root"], plain["source"]) == ("/sub", "")


def test_without_those_of_process_1_our_own_are_shown(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"proc/self/mountinfo": MOUNTINFO}))

    assert len(shown(mounts.TABLE, looking)) == 3
    assert looking.problems == []


def test_none_at_all_is_said(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(mounts.TABLE, looking) == []
    assert "mountinfo" in looking.problems[0]


@given(st.binary(max_size=300))
def test_any_bytes_give_mounts(data: bytes) -> None:
    for row in mounts.parse_mounts(data + b"\n1 2 3 4 5 6 - 7 8 9 " + data):
        assert set(row) <= set(mounts.TABLE.columns)
