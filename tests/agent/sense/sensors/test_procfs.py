import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hosttext import CUT
from agent.sense.sensors.procfs import (
    ARGUMENTS_MAX,
    NS_PER_TICK,
    ProcError,
    ProcIds,
    parse_arguments,
    parse_ids,
    parse_login,
    parse_socket,
    parse_stat,
    terminal,
    within,
)

TAIL = (
    b" S 1 812 812 34816 900 4194304 10 0 0 0 1 2 0 0 20 0 1 0 4321 1000 100"
    b" 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def test_stat_is_read() -> None:
    stat = parse_stat(b"812 (sshd)" + TAIL)

    assert (stat.pid, stat.name, stat.ppid, stat.session) == (812, "sshd", 1, 812)
    assert stat.start == 4321 * NS_PER_TICK
    assert terminal(stat.tty) == "pts/0"
    assert not stat.is_kernel_thread


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a) S 1 1 1 (b", "a) S 1 1 1 (b"),
        (b"two\nlines", "two\nlines"),
        (b"", ""),
        (b"\xff)", "\\xff)"),
        (b"1) R 0 0 0 0 0 2097152", "1) R 0 0 0 0 0 2097152"),
    ],
)
def test_no_process_can_shift_the_fields_by_its_name(name: bytes, text: str) -> None:
    stat = parse_stat(b"812 (" + name + b")" + TAIL)

    assert (stat.name, stat.ppid, stat.is_kernel_thread) == (text, 1, False)


def test_a_kernel_thread_is_told_by_its_flags() -> None:
    stat = parse_stat(b"2 (kthreadd)" + TAIL.replace(b"4194304", b"2129984"))

    assert stat.is_kernel_thread


def test_a_dying_process_has_no_session() -> None:
    stat = parse_stat(b"9 (gone) Z 1 -1 -1 0 -1 4228108" + b" 0" * 12 + b" 77 0 0\n")

    assert stat.session is None
    assert stat.is_zombie


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"812 sshd" + TAIL,
        b"812 (sshd) S 1 2 3",
        b"x (sshd)" + TAIL,
        b"-1 (sshd)" + TAIL,
        b"812 (sshd)" + TAIL.replace(b"4321", b"9" * 5000),
        b"812 (sshd)" + TAIL.replace(b"4321", b"9" * 30),
        b"812 (sshd)" + TAIL.replace(b" 1 812", b" 99999999999 812"),
    ],
)
def test_what_is_no_stat_is_refused(data: bytes) -> None:
    with pytest.raises(ProcError):
        parse_stat(data)


@given(data=st.binary(max_size=400))
def test_any_bytes_give_a_stat_or_our_error(data: bytes) -> None:
    try:
        stat = parse_stat(data)
    except ProcError:
        return

    assert stat.pid > 0


@given(name=st.binary(max_size=80), tail=st.binary(max_size=120))
def test_any_name_gives_a_stat_or_our_error(name: bytes, tail: bytes) -> None:
    try:
        stat = parse_stat(b"7 (" + name + b") S 1 " + tail + TAIL)
    except ProcError:
        return

    assert stat.pid == 7


def test_the_stat_of_this_process_is_read() -> None:
    stat = parse_stat(Path("/proc/self/stat").read_bytes())

    assert (stat.pid, stat.ppid, stat.session) == (os.getpid(), os.getppid(), os.getsid(0))


def test_real_and_effective_user_are_read() -> None:
    ids = parse_ids(b"Name:\tsudo\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t1000\t0\t0\t0\n")

    assert ids == ProcIds(uid=1000, euid=0)
    assert parse_ids(Path("/proc/self/status").read_bytes()).uid == os.getuid()


@given(data=st.binary(max_size=200) | st.from_regex(rb"\AUid:\t[0-9]{1,12}\t[0-9]{1,12}\t\Z"))
def test_any_bytes_give_users_or_our_error(data: bytes) -> None:
    try:
        ids = parse_ids(data)
    except ProcError:
        return

    assert 0 <= ids.uid < 1 << 32


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        (b"ls\0-l\0", ("ls", "-l")),
        (b"sh\0-c\0\0x\0", ("sh", "-c", "", "x")),
        (b"nginx: master process /usr/sbin/nginx", ("nginx: master process /usr/sbin/nginx",)),
        (b"sshd: root@pts/0\0\0\0\0\0\0", ("sshd: root@pts/0",)),
        (b"printf\0\xff\xfe\0", ("printf", "\\xff\\xfe")),
        (b"a\nb\0", ("a\nb",)),
        (b"", ()),
        (b"\0\0", ()),
    ],
)
def test_arguments_are_told_apart_by_nul(data: bytes, arguments: tuple[str, ...]) -> None:
    assert parse_arguments(data, 1024) == arguments


def test_two_mebibytes_of_arguments_are_cut_and_say_so() -> None:
    cut = parse_arguments(b"x\0" + b"y" * (2 << 20), 32_768)

    assert cut[0] == "x"
    assert cut[-1] == CUT
    assert sum(map(len, cut)) <= 32_768 + len(CUT)


def test_more_arguments_than_a_record_holds_are_cut_and_say_so() -> None:
    exact = parse_arguments(b"a\0" * ARGUMENTS_MAX, 32_768)
    more = parse_arguments(b"a\0" * (ARGUMENTS_MAX + 1), 32_768)

    assert exact == ("a",) * ARGUMENTS_MAX
    assert more == ("a",) * (ARGUMENTS_MAX - 1) + (CUT,)


def test_bytes_that_are_no_text_take_more_room_and_are_cut_by_it() -> None:
    cut = parse_arguments(b"\xff\0" * 300, 300)

    assert cut == ("\\xff",) * 75 + (CUT,)


@given(data=st.binary(max_size=3000), bytes_max=st.integers(16, 2000))
def test_any_bytes_give_arguments_that_can_be_sent(data: bytes, bytes_max: int) -> None:
    arguments = parse_arguments(data, bytes_max)

    assert len(arguments) <= ARGUMENTS_MAX
    assert sum(map(len, arguments)) <= bytes_max + len(CUT)
    assert "".join(arguments).encode().decode() == "".join(arguments)


def test_arguments_within_a_limit_are_whole() -> None:
    assert within(["ab", "c"], 3) == ["ab", "c"]
    assert within(["ab", "c"], 2) == ["ab", CUT]
    assert within([], 0) == []


def test_a_descriptor_of_a_socket_names_its_inode() -> None:
    assert parse_socket(b"socket:[98765]") == 98765
    for link in (
        b"/tmp/socket:[1]",
        b"pipe:[7]",
        b"socket:[x]",
        b"",
        b"socket:[" + b"9" * 30 + b"]",
    ):
        assert parse_socket(link) is None


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (0, None),
        (34816, "pts/0"),
        (34819, "pts/3"),
        (137 << 8 | 2, "pts/258"),
        (1025, "tty1"),
        (4 << 8 | 64, "ttyS0"),
        (5 << 8 | 1, "5:1"),
    ],
)
def test_a_terminal_has_its_name_below_dev(device: int, name: str | None) -> None:
    assert terminal(device) == name


def test_who_logged_in_is_a_number_or_nobody() -> None:
    assert parse_login(b"1000") == 1000
    assert parse_login(b"4294967295") is None


@given(st.binary(max_size=12) | st.integers(0, 10**12).map(lambda n: str(n).encode()))
def test_any_bytes_are_a_login_or_our_error(data: bytes) -> None:
    try:
        login = parse_login(data)
    except ProcError:
        return

    assert login is None or 0 <= login < 1 << 32
