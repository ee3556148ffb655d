import stat

import pytest

from agent.hostroot import HostFileDenied
from agent.sense.posture.probes.file import Facts, Parameters, read
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles


def facts_of(path: str, host: FakeHostFiles | None = None) -> Facts:
    return read(Parameters(path=path), HostReader(host or a_good_host(), FakeClock()))


def test_the_facts_are_mode_and_owner_by_number_and_by_name() -> None:
    facts = facts_of("/etc/shadow")

    assert (facts.mode, facts.uid, facts.owner, facts.gid, facts.group) == (
        "0640",
        0,
        "root",
        42,
        "shadow",
    )
    assert (facts.exists, facts.kind, facts.empty) == (True, "file", False)


def test_special_bits_are_part_of_the_mode() -> None:
    assert facts_of("/usr/bin/sudo").mode == "4755"


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (stat.S_IFIFO, "fifo"),
        (stat.S_IFSOCK, "socket"),
        (stat.S_IFCHR, "device"),
        (stat.S_IFBLK, "device"),
        (stat.S_IFREG, "file"),
    ],
)
def test_what_is_no_file_is_named_and_not_opened(kind: int, word: str) -> None:
    host = a_good_host().add("/etc/odd", b"", kind=kind)

    assert facts_of("/etc/odd", host).kind == word


def test_a_directory_is_one() -> None:
    assert facts_of("/etc/ssh").kind == "directory"


def test_an_absent_path_has_no_other_facts() -> None:
    assert facts_of("/etc/nothing") == Facts(exists=False)


def test_an_owner_nobody_knows_has_a_number_and_no_name() -> None:
    host = a_good_host().add("/etc/odd", b"x", uid=4242, gid=4243)

    facts = facts_of("/etc/odd", host)

    assert (facts.uid, facts.owner, facts.gid, facts.group) == (4242, None, 4243, None)


def test_names_that_cannot_be_read_leave_the_numbers() -> None:
    host = a_good_host().change("/etc/group", refuse=HostFileDenied)

    facts = facts_of("/etc/shadow", host)

    assert (facts.gid, facts.group, facts.owner) == (42, None, "root")


@pytest.mark.parametrize(
    "path", ["/home/ann/diary", "/root/key", "/etc/../root/key", "/var/lib/x", "/srv/a"]
)
def test_what_people_keep_is_not_looked_at(path: str) -> None:
    host = a_good_host()

    with pytest.raises(Unseen) as seen:
        facts_of(path, host)

    assert seen.value.reason is UnknownReason.DENIED
    assert host.looks == []


def test_running_out_of_time_over_the_names_is_a_timeout() -> None:
    clock = FakeClock()
    host = a_good_host()
    host.on_look = lambda path: clock.forward(3 if path == "/etc/passwd" else 0)

    with pytest.raises(Unseen) as seen:
        read(Parameters(path="/etc/shadow"), HostReader(host, clock))

    assert seen.value.reason is UnknownReason.TIMEOUT


def test_a_line_that_is_no_account_names_nobody() -> None:
    host = a_good_host().add("/etc/group", "nonsense\nroot:x:zero:\nshadow:x:42:\n")

    facts = facts_of("/etc/shadow", host)

    assert facts.group == "shadow"
