from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileDenied
from agent.sense.posture.probes.mounts import (
    Facts,
    Mount,
    Parameters,
    parse_fstab,
    parse_mountinfo,
    read,
)
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import MOUNTINFO, a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

ROOT = "1 0 8:1 / / rw - ext4 /dev/sda rw\n"


def facts_of(path: str, host: FakeHostFiles | None = None) -> Facts:
    return read(Parameters(path=path), HostReader(host or a_good_host(), FakeClock()))


def test_a_mount_is_named_by_its_own_path_alone() -> None:
    assert facts_of("/tmp").live == Mount("tmpfs", ("nodev", "nosuid", "rw"))
    assert facts_of("/tmp/below").live is None
    assert facts_of("/var").live is None


def test_fstab_stands_beside_what_is_in_force() -> None:
    host = a_good_host().add("/etc/fstab", "tmpfs /tmp tmpfs defaults,nosuid 0 0\n")

    facts = facts_of("/tmp", host)

    assert facts.fstab == Mount("tmpfs", ("defaults", "nosuid"))
    assert facts.live is not None


def test_without_an_fstab_there_is_none() -> None:
    host = a_good_host()
    del host.nodes["/etc/fstab"]

    assert facts_of("/tmp", host).fstab is None


def test_a_mount_put_over_another_hides_it() -> None:
    text = ROOT + "2 1 0:1 / /m rw,nosuid - tmpfs a rw\n3 2 0:2 / /m rw - tmpfs b rw\n"

    assert parse_mountinfo(text)["/m"].options == ("rw",)


def test_a_mount_put_over_a_directory_hides_what_was_mounted_below_it() -> None:
    text = ROOT + "2 1 0:1 / /a/b rw,nosuid - tmpfs x rw\n3 1 0:2 / /a rw - tmpfs y rw\n"

    assert set(parse_mountinfo(text)) == {"/", "/a"}


def test_a_mount_below_another_is_seen_whatever_the_order_of_lines() -> None:
    text = "3 2 0:2 / /a/b rw - tmpfs y rw\n2 1 0:1 / /a rw - tmpfs x rw\n" + ROOT

    assert set(parse_mountinfo(text)) == {"/", "/a", "/a/b"}


def test_a_file_system_mounted_read_only_is_read_only() -> None:
    text = ROOT + "2 1 0:1 / /m rw,nosuid - ext4 /dev/sdb ro\n"

    assert parse_mountinfo(text)["/m"].options == ("nosuid", "ro")


def test_escapes_in_paths_are_undone() -> None:
    text = ROOT + "2 1 0:1 / /with\\040space rw - tmpfs x rw\n"

    assert "/with space" in parse_mountinfo(text)


def test_what_a_file_system_keeps_private_is_not_kept() -> None:
    fstab = parse_fstab("//srv/x /mnt cifs nosuid,username=ann,password=hunter2 0 0\n")

    assert fstab["/mnt"].options == ("nosuid",)


@pytest.mark.parametrize(
    "text", [MOUNTINFO[:-20], "nonsense\n", "1 x 8:1 / / rw - ext4 a rw\n", "2 1 0:1 / /m rw\n"]
)
def test_a_mount_table_that_is_cut_is_not_used(text: str) -> None:
    with pytest.raises(Unseen) as seen:
        parse_mountinfo(text)

    assert seen.value.reason is UnknownReason.PARSE


def test_an_fstab_that_is_cut_is_not_used() -> None:
    with pytest.raises(Unseen):
        parse_fstab("tmpfs /tmp\n")


def test_a_view_we_may_not_see_is_not_replaced_by_our_own() -> None:
    host = a_good_host().change("/proc/1/mountinfo", refuse=HostFileDenied)
    host.add("/proc/self/mountinfo", MOUNTINFO)

    with pytest.raises(Unseen) as seen:
        facts_of("/tmp", host)

    assert seen.value.reason is UnknownReason.DENIED


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(["/", "/a", "/b"])))
)
def test_any_tree_of_mounts_ends(rows: list[tuple[int, int, str]]) -> None:
    text = "".join(f"{one} {two} 0:1 / {path} rw - tmpfs x rw\n" for one, two, path in rows)

    try:
        seen = parse_mountinfo(text)
    except Unseen:
        return

    assert "/" in seen


@given(st.text(max_size=300))
def test_any_text_gives_mounts_or_our_error(text: str) -> None:
    for parse in (parse_mountinfo, parse_fstab):
        with suppress(Unseen):
            assert isinstance(parse(text), dict)


def test_without_a_first_process_there_is_no_view_to_ask() -> None:
    host = a_good_host()
    del host.nodes["/proc/1/mountinfo"]

    with pytest.raises(Unseen) as seen:
        facts_of("/tmp", host)

    assert seen.value.reason is UnknownReason.OFFLINE
