import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.hostroot import (
    HostFileDenied,
    HostFileError,
    HostFileMissing,
    HostFileNotRegular,
    HostFileTooLarge,
    HostRoot,
)
from agent.sense.posture.reader import HostFiles
from agent.sense.posture.rows import KEYS, rows
from proto.content.checks import builtin_pack
from runtime.clock import SystemClock
from tests.agent.sense.posture.builders import a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles


def states(host: HostFiles, clock: FakeClock | None = None) -> Counter[object]:
    return Counter(row["state"] for row in rows(host, clock or FakeClock()))


def null_tree() -> FakeHostFiles:
    return FakeHostFiles()


def bare_tree() -> FakeHostFiles:
    return FakeHostFiles().add_directory("/etc").add_directory("/usr").add_directory("/proc/sys")


def all_refused(error: type[HostFileError]) -> Callable[[], FakeHostFiles]:
    return lambda: a_good_host().refuse_all(error)


def all_cut(keep: Callable[[bytes], bytes]) -> Callable[[], FakeHostFiles]:
    return lambda: a_good_host().truncate_all(keep)


BLIND = {
    "nothing there": null_tree,
    "denied": all_refused(HostFileDenied),
    "gone": all_refused(HostFileMissing),
    "no regular files": all_refused(HostFileNotRegular),
    "all too large": all_refused(HostFileTooLarge),
    "input and output errors": all_refused(HostFileError),
    "cut to nothing": all_cut(lambda data: b""),
    "all zero": all_cut(lambda data: bytes(64)),
}


def test_on_a_good_host_every_check_passes() -> None:
    assert states(a_good_host()) == {"pass": 20}


@pytest.mark.parametrize("name", BLIND)
def test_a_blind_agent_passes_nothing_and_exempts_nothing(name: str) -> None:
    host = BLIND[name]()
    clock = FakeClock()

    found = list(rows(host, clock))

    # The mode of a file is a fact that needs nothing of its content.
    content_free = "all zero" in name
    passing = [row["check"] for row in found if row["state"] == "pass"]
    assert all(str(check).startswith("linux.file.") for check in passing)
    assert not passing or content_free
    assert "not_applicable" not in {row["state"] for row in found}


def test_a_host_on_which_every_probe_times_out_passes_nothing() -> None:
    clock = FakeClock()
    host = a_good_host()
    host.on_look = lambda path: clock.forward(5)

    found = list(rows(host, clock))

    assert {row["state"] for row in found} == {"unknown"}
    assert {str(row["reason"]).partition(":")[0] for row in found} == {"timeout"}


def test_an_empty_tree_is_unknown_and_exempts_nothing() -> None:
    counts = states(bare_tree())

    assert counts["pass"] == counts["not_applicable"] == 0


def test_an_empty_directory_as_root_passes_nothing(tmp_path: Path) -> None:
    assert states(HostRoot(tmp_path)) == {"unknown": 20}


def test_fifos_for_files_neither_hang_nor_pass(tmp_path: Path) -> None:
    for path in a_good_host().nodes:
        target = tmp_path / path.lstrip("/")
        if a_good_host().nodes[path].data is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            os.mkfifo(target)

    assert states(HostRoot(tmp_path))["pass"] == 0


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/var/lib/dpkg/status"])
def test_a_file_cut_in_the_middle_gives_no_pass_that_rests_on_it(path: str) -> None:
    host = a_good_host()
    data = host.nodes[path].data or b""
    whole = {row["check"] for row in rows(host, FakeClock()) if row["state"] == "pass"}

    host.change(path, data=data[: len(data) // 2 + 3])
    cut = {row["check"] for row in rows(host, FakeClock()) if row["state"] == "pass"}

    family = "linux.components." if "dpkg" in path else "linux.accounts."
    lost = {check for check in whole - cut if str(check).startswith(family)}
    assert cut < whole
    assert lost


MISCONFIGURATIONS: dict[str, Callable[[FakeHostFiles], object]] = {
    "linux.file.shadow_private": lambda host: host.change("/etc/shadow", mode=0o644),
    "linux.file.passwd_unalterable": lambda host: host.change("/etc/passwd", uid=1000),
    "linux.file.sudoers_unalterable": lambda host: host.change("/etc/sudoers", mode=0o660),
    "linux.sysctl.address_space_random": lambda host: host.add(
        "/proc/sys/kernel/randomize_va_space", "1\n"
    ),
    "linux.sysctl.ptrace_restricted": lambda host: host.add(
        "/etc/sysctl.d/99-x.conf", "kernel.yama.ptrace_scope=0\n"
    ),
    "linux.sysctl.source_route_refused": lambda host: host.add(
        "/proc/sys/net/ipv4/conf/all/accept_source_route", "1\n"
    ),
    "linux.sysctl.syn_flood_borne": lambda host: host.nodes.pop(
        "/proc/sys/net/ipv4/tcp_syncookies"
    ),
    "linux.sshd.root_without_password": lambda host: host.add(
        "/etc/ssh/sshd_config.d/00-a.conf", "PermitRootLogin yes\n"
    ),
    "linux.sshd.empty_password_refused": lambda host: host.add(
        "/etc/ssh/sshd_config.d/00-a.conf", "Match User x\nPermitEmptyPasswords yes\n"
    ),
    "linux.sshd.keys_only": lambda host: host.add(
        "/etc/ssh/sshd_config.d/00-a.conf", "PasswordAuthentication yes\n"
    ),
    "linux.accounts.one_superuser": lambda host: add_user(host, "t:x:0:0::/:/bin/sh", "*"),
    "linux.accounts.no_empty_password": lambda host: add_user(host, "t:x:2000:0::/:/bin/sh", ""),
    "linux.accounts.strong_hashes": lambda host: add_user(host, "t:x:2000:0::/:/bin/sh", "$1$a$b"),
    "linux.accounts.services_cannot_log_in": lambda host: add_user(
        host, "t:x:200:0::/:/bin/sh", "$y$a$b"
    ),
    "linux.mounts.tmp_restricted": lambda host: host.add(
        "/etc/fstab", "tmpfs /tmp tmpfs defaults 0 0\n"
    ),
    "linux.mounts.shm_restricted": lambda host: replace_text(
        host, "/proc/1/mountinfo", "rw,nosuid,nodev,noexec", "rw"
    ),
    "linux.components.audit_recorder": lambda host: host.add("/proc/200/comm", "other\n"),
    "linux.components.host_firewall": lambda host: host.add(
        "/etc/systemd/system/nftables.service", b""
    ),
    "linux.components.time_sync": lambda host: host.add("/proc/201/comm", "other\n"),
    "linux.components.no_cleartext_services": lambda host: host.add(
        "/usr/sbin/in.telnetd", b"x", mode=0o755
    ),
}


def add_user(host: FakeHostFiles, passwd: str, field: str) -> None:
    name = passwd.partition(":")[0]
    for path, line in (("/etc/passwd", passwd), ("/etc/shadow", f"{name}:{field}:1:0:9:7:::")):
        text = (host.nodes[path].data or b"").decode() + line + "\n"
        host.change(path, data=text.encode())


def replace_text(host: FakeHostFiles, path: str, old: str, new: str) -> None:
    host.change(path, data=(host.nodes[path].data or b"").replace(old.encode(), new.encode()))


@pytest.mark.parametrize("check", [check.id for check in builtin_pack().checks])
def test_a_misconfiguration_fails_its_own_check_and_no_other(check: str) -> None:
    host = a_good_host()

    MISCONFIGURATIONS[check](host)

    failing = {row["check"] for row in rows(host, FakeClock()) if row["state"] == "fail"}
    assert failing == {check}


def test_where_a_component_is_absent_its_checks_are_exempt_but_mandated_ones_fail() -> None:
    host = a_good_host().add("/var/lib/dpkg/status", b"Package: bash\nStatus: a b installed\n\n")
    for path in ("/usr/sbin/sshd", "/usr/bin/sudo"):
        del host.nodes[path]

    by_check = {row["check"]: row["state"] for row in rows(host, FakeClock())}

    assert by_check["linux.sshd.keys_only"] == "not_applicable"
    assert by_check["linux.file.sudoers_unalterable"] == "not_applicable"
    for component in ("audit_recorder", "host_firewall", "time_sync"):
        assert by_check[f"linux.components.{component}"] == "fail"


def test_a_row_has_the_keys_that_scripts_depend_on() -> None:
    found = list(rows(a_good_host(), FakeClock()))

    assert [tuple(row) for row in found] == [KEYS] * 20
    assert found[0]["severity"] == "high"
    assert found[0]["refs"]


def test_on_this_host_every_check_has_a_verdict_and_every_unknown_a_reason() -> None:
    found = list(rows(HostRoot("/"), SystemClock()))

    assert len(found) == 20
    assert all(row["reason"] or row["state"] == "pass" for row in found)
    assert {row["state"] for row in found} <= {"pass", "fail", "unknown", "not_applicable"}
