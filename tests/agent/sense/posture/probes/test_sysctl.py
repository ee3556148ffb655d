from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileDenied, HostRoot
from agent.sense.posture.probes.sysctl import (
    Facts,
    Parameters,
    normal_key,
    parse,
    persisted,
    read,
)
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

KEY = "kernel.randomize_va_space"


def facts_of(host: FakeHostFiles, key: str = KEY) -> Facts:
    return read(Parameters(key=key), HostReader(host, FakeClock()))


def test_a_value_in_force_that_no_file_keeps_is_only_live() -> None:
    assert facts_of(a_good_host()) == Facts(live=2, persisted=None, origin=None)


def test_live_and_kept_values_may_differ_and_both_are_shown() -> None:
    host = a_good_host().add("/etc/sysctl.d/60-x.conf", f"{KEY}=0\n")

    assert facts_of(host) == Facts(live=2, persisted=0, origin="/etc/sysctl.d/60-x.conf")


def test_the_last_file_by_name_wins_whatever_its_directory() -> None:
    host = a_good_host()
    host.add("/etc/sysctl.d/50-a.conf", f"{KEY}=1\n")
    host.add("/usr/lib/sysctl.d/99-b.conf", f"{KEY}=2\n")
    host.add("/run/sysctl.d/70-c.conf", f"{KEY}=0\n")

    assert facts_of(host).origin == "/usr/lib/sysctl.d/99-b.conf"


def test_a_file_hides_those_of_its_name_in_later_directories() -> None:
    host = a_good_host()
    host.add("/etc/sysctl.d/99-b.conf", "# nothing\n")
    host.add("/usr/lib/sysctl.d/99-b.conf", f"{KEY}=0\n")

    assert facts_of(host).persisted is None


def test_an_empty_file_hides_too() -> None:
    host = a_good_host()
    host.add("/etc/sysctl.d/99-b.conf", b"")
    host.add("/usr/lib/sysctl.d/99-b.conf", f"{KEY}=0\n")

    assert facts_of(host).persisted is None


def test_of_two_lines_in_a_file_the_last_wins() -> None:
    host = a_good_host().add("/etc/sysctl.d/60-x.conf", f"{KEY}=0\n{KEY} = 1\n")

    assert facts_of(host).persisted == 1


def test_a_key_the_kernel_lacks_is_a_fact() -> None:
    host = a_good_host().add("/etc/sysctl.d/60-x.conf", "kernel.other=1\n")

    assert facts_of(host, "kernel.other").live is None


def test_without_proc_nothing_is_said() -> None:
    host = FakeHostFiles().add_directory("/etc").add_directory("/usr")

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.OFFLINE


def test_a_file_that_cannot_be_read_leaves_all_unsaid() -> None:
    host = a_good_host().change("/etc/sysctl.d/50-local.conf", refuse=HostFileDenied)

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.DENIED


@pytest.mark.parametrize(
    "key",
    ["net.ipv4.tcp_fastopen_key", "net.ipv6.conf.all.stable_secret", "kernel.random.uuid"],
)
def test_keys_that_hold_secrets_are_not_read(key: str) -> None:
    host = a_good_host()

    with pytest.raises(Unseen) as seen:
        facts_of(host, key)

    assert seen.value.reason is UnknownReason.DENIED
    assert host.looks == []


def test_a_key_cannot_climb_out_of_the_kernels_tree() -> None:
    with pytest.raises(Unseen):
        facts_of(a_good_host(), "kernel/../../../etc/shadow")


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_a_key_has_one_form(spelling: str, key: str) -> None:
    assert normal_key(spelling) == key


def test_lines_may_be_indented_commented_or_marked_to_be_ignored() -> None:
    lines = parse("# a=1\n; b=2\r\n  -c.d = 3 \r\nnonsense\n-e.f\n\n", "x")

    assert [(line.key, line.value) for line in lines] == [("c/d", "3"), ("e/f", None)]


def test_a_glob_gives_way_to_a_name() -> None:
    lines = parse("net.ipv4.conf.all.rp_filter=0\nnet.ipv4.conf.*.rp_filter=2\n", "x")

    named = persisted("net/ipv4/conf/all/rp_filter", lines)
    globbed = persisted("net/ipv4/conf/eth0/rp_filter", lines)

    assert named is not None
    assert named.value == "0"
    assert globbed is not None
    assert globbed.value == "2"


def test_a_key_taken_out_of_globs_is_not_kept() -> None:
    lines = parse("net.ipv4.conf.*.rp_filter=2\n-net.ipv4.conf.all.rp_filter\n", "x")

    assert persisted("net/ipv4/conf/all/rp_filter", lines) is None


def test_a_value_that_is_no_number_stays_text() -> None:
    host = a_good_host().add("/proc/sys/net/ipv4/ping_group_range", "1\t0\n")

    assert facts_of(host, "net.ipv4.ping_group_range").live == "1 0"


@given(st.text(max_size=200))
def test_any_text_gives_assignments(text: str) -> None:
    lines = parse(text, "x")

    assert all(isinstance(line.key, str) for line in lines)


def test_thousands_of_files_are_not_read() -> None:
    host = a_good_host()
    for number in range(600):
        host.add(f"/etc/sysctl.d/{number:04}.conf", "a.b=1\n")

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.OVERSIZE


def test_a_link_that_leads_nowhere_sets_nothing(tmp_path: Path) -> None:
    for name in ("etc/sysctl.d", "usr", "proc/sys/kernel"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1\n")
    (tmp_path / "proc/sys/kernel/randomize_va_space").write_text("2\n")
    (tmp_path / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    reader = HostReader(HostRoot(tmp_path), FakeClock())

    assert read(Parameters(key=KEY), reader) == Facts(live=2, persisted=None, origin=None)
