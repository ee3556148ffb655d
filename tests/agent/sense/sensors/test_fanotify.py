"""The fanotify wrapper says what the kernel says, losses included, and asks for no answer."""

import errno
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors import fanotify
from agent.sense.sensors.fanotify import (
    Event,
    FanotifyGarbled,
    FanotifyRefused,
    Group,
    Info,
    InfoKind,
    Refusal,
    Scope,
    parse,
)


def opened(make: Callable[[], Group]) -> Group:
    try:
        return make()
    except FanotifyRefused as error:
        pytest.skip(str(error))


@pytest.fixture
def by_descriptor() -> Iterator[Group]:
    group = opened(fanotify.for_descriptors)
    yield group
    group.close()


@pytest.fixture
def by_name() -> Iterator[Group]:
    group = opened(fanotify.for_names)
    yield group
    group.close()


def marked(group: Group, path: Path, mask: int, scope: Scope) -> None:
    fd = os.open(path, os.O_PATH)
    try:
        group.mark(fd, mask, scope)
    except FanotifyRefused as error:
        pytest.skip(f"no such mark here: {error}")
    finally:
        os.close(fd)


def drained(group: Group) -> list[Event]:
    events = []
    while some := group.read():
        events += some
    return events


# ------------------------------------------------------------------------------------ the kernel


@pytest.mark.root
def test_an_exec_is_told_with_the_very_file_and_the_process(
    by_descriptor: Group, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    marked(by_descriptor, tmp_path, fanotify.OPEN_EXEC, Scope.FILESYSTEM)

    child = subprocess.Popen([program])
    child.wait()

    events = drained(by_descriptor)
    held = {os.fstat(event.fd).st_ino: event.pid for event in events}
    for event in events:
        os.close(event.fd)
    assert held[program.stat().st_ino] == child.pid


@pytest.mark.root
def test_a_file_too_large_for_an_old_descriptor_is_told_too(
    by_descriptor: Group, tmp_path: Path
) -> None:
    program = tmp_path / "large"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    os.truncate(program, 3 << 30)
    marked(by_descriptor, program, fanotify.OPEN_EXEC, Scope.INODE)

    subprocess.run([program], check=True)

    (event,) = drained(by_descriptor)
    assert os.fstat(event.fd).st_size == 3 << 30
    os.close(event.fd)


@pytest.mark.root
def test_a_new_file_is_told_with_its_directory_and_name(by_name: Group, tmp_path: Path) -> None:
    marked(by_name, tmp_path, fanotify.CREATE | fanotify.CLOSE_WRITE, Scope.FILESYSTEM)

    (tmp_path / "é").write_bytes(b"x")

    names = [
        info.name
        for event in drained(by_name)
        if event.mask & fanotify.CREATE
        for info in event.infos
        if info.kind is InfoKind.NAME
    ]
    assert "é".encode() in names


def test_without_privilege_names_in_one_directory_are_told(by_name: Group, tmp_path: Path) -> None:
    marked(by_name, tmp_path, fanotify.CREATE, Scope.INODE)

    (tmp_path / "new").touch()

    (event,) = by_name.read()
    assert event.mask == fanotify.CREATE
    assert event.fd == fanotify.NO_DESCRIPTOR
    assert event.infos[-1 if event.infos[0].kind is InfoKind.FILE else 0].name == b"new"
    assert event.infos[0].handle


def test_nothing_waiting_is_nothing(by_name: Group) -> None:
    assert by_name.read() == []


def test_a_removed_mark_tells_no_more_and_removing_it_again_is_harmless(
    by_name: Group, tmp_path: Path
) -> None:
    marked(by_name, tmp_path, fanotify.CREATE, Scope.INODE)
    fd = os.open(tmp_path, os.O_PATH)

    by_name.unmark(fd, fanotify.CREATE, Scope.INODE)
    by_name.unmark(fd, fanotify.CREATE, Scope.INODE)

    os.close(fd)
    (tmp_path / "new").touch()
    assert by_name.read() == []


def test_a_directory_that_is_ignored_tells_nothing(by_name: Group, tmp_path: Path) -> None:
    (tmp_path / "quiet").mkdir()
    marked(by_name, tmp_path, fanotify.CREATE | fanotify.CLOSE_WRITE, Scope.FILESYSTEM)
    fd = os.open(tmp_path / "quiet", os.O_PATH)
    try:
        by_name.ignore(fd, fanotify.CREATE | fanotify.CLOSE_WRITE)
    except FanotifyRefused as error:
        pytest.skip(f"nothing can be ignored here: {error}")
    finally:
        os.close(fd)

    (tmp_path / "quiet/unheard").write_bytes(b"x")
    (tmp_path / "heard").write_bytes(b"x")

    names = {info.name for event in by_name.read() for info in event.infos}
    assert b"heard" in names
    assert b"unheard" not in names


def test_without_targets_an_event_names_a_directory_and_a_name_alone(tmp_path: Path) -> None:
    group = opened(lambda: fanotify.for_names(with_targets=False))
    marked(group, tmp_path, fanotify.CREATE, Scope.INODE)

    (tmp_path / "x").touch()
    (event,) = group.read()
    group.close()

    assert [(info.kind, info.name) for info in event.infos] == [(InfoKind.NAME, b"x")]
    assert not group.names_targets


def test_a_full_queue_is_said(by_name: Group, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip(f"the queue holds {limit} events here")
    marked(by_name, tmp_path, fanotify.CREATE, Scope.INODE)

    for number in range(limit + 10):
        path = tmp_path / str(number)
        path.touch()
        path.unlink()

    events = drained(by_name)
    assert sum(event.is_overflow for event in events) == 1


@pytest.mark.root
def test_an_event_whose_file_could_not_be_opened_is_a_loss_that_shows(
    by_descriptor: Group, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    marked(by_descriptor, program, fanotify.OPEN_EXEC, Scope.INODE)
    subprocess.run([program], check=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        if by_descriptor.says_lost_descriptors:
            (event,) = by_descriptor.read()
            assert (event.fd, event.lost_errno) == (-1, errno.EMFILE)
        else:
            with pytest.raises(OSError, match="Too many open files"):
                by_descriptor.read()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_mark_that_would_hold_others_up_cannot_be_made(by_name: Group, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)

    with pytest.raises(ValueError, match="permission"):
        by_name.mark(fd, 0x0004_0000, Scope.INODE)

    os.close(fd)


@pytest.mark.root
def test_a_file_system_that_cannot_be_watched_is_refused_as_such(by_name: Group) -> None:
    fd = os.open("/proc", os.O_PATH)

    with pytest.raises(FanotifyRefused) as refused:
        by_name.mark(fd, fanotify.CREATE | fanotify.RENAME, Scope.FILESYSTEM)

    os.close(fd)
    assert refused.value.refusal in {Refusal.UNSUPPORTED, Refusal.UNKNOWN}


@pytest.mark.root
def test_whole_file_systems_take_a_privilege_and_the_refusal_says_so() -> None:
    script = (
        "import os\n"
        "from agent.sense.sensors import fanotify\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try:\n"
        "    fanotify.for_descriptors()\n"
        "except fanotify.FanotifyRefused as error:\n"
        "    print(error.refusal.name, error)\n"
        "group = fanotify.for_names()\n"
        "try:\n"
        "    group.mark(os.open('/', os.O_PATH), fanotify.CREATE, fanotify.Scope.FILESYSTEM)\n"
        "except fanotify.FanotifyRefused as error:\n"
        "    print(error.refusal.name)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)  # noqa: PLW1510

    if "UNKNOWN" in done.stdout or "unknown" in done.stderr.lower():
        pytest.skip("an older kernel")
    assert done.stdout.splitlines() == [
        "PRIVILEGE file system events: operation not permitted",
        "PRIVILEGE",
    ]


def test_a_closed_group_can_be_closed_again() -> None:
    group = opened(fanotify.for_names)

    group.close()
    group.close()

    assert group.fileno() == -1


def test_a_flag_no_kernel_knows_is_refused_as_unknown() -> None:
    with pytest.raises(FanotifyRefused) as refused:
        Group(0x4000_0000)

    assert refused.value.refusal in {Refusal.UNKNOWN, Refusal.PRIVILEGE}


# -------------------------------------------------------------------------------------- the bytes


def an_event(mask: int, fd: int = -1, pid: int = 7, info: bytes = b"") -> bytes:
    return struct.pack("=IBBHQii", 24 + len(info), 3, 0, 24, mask, fd, pid) + info


def a_record(kind: int, handle: bytes, name: bytes = b"") -> bytes:
    body = struct.pack("=iiIi", 1, 2, len(handle), 9) + handle + name
    body += bytes(-len(body) % 4)
    return struct.pack("=BBH", kind, 0, 4 + len(body)) + body


def test_records_are_read_by_kind_and_unknown_ones_passed_over() -> None:
    info = a_record(99, b"?") + a_record(2, b"dir!", b"name\0") + a_record(1, b"file")

    (event,) = parse(an_event(fanotify.CREATE, info=info))

    assert event.infos == (
        Info(InfoKind.NAME, (1, 2), 9, b"dir!", b"name"),
        Info(InfoKind.FILE, (1, 2), 9, b"file"),
    )


def test_an_overflow_and_a_lost_descriptor_are_told_apart_from_events() -> None:
    data = an_event(fanotify.OVERFLOW) + an_event(fanotify.OPEN_EXEC, fd=-errno.EMFILE)

    overflow, lost = parse(data)

    assert (overflow.is_overflow, overflow.fd, overflow.lost_errno) == (True, -1, 0)
    assert (lost.is_overflow, lost.fd, lost.lost_errno) == (False, -1, errno.EMFILE)


@pytest.mark.parametrize(
    "data",
    [
        an_event(1)[:-1],
        struct.pack("=IBBHQii", 24, 2, 0, 24, 1, -1, 1),
        struct.pack("=IBBHQii", 0, 3, 0, 24, 1, -1, 1),
        an_event(1, info=struct.pack("=BBH", 1, 0, 0)),
        an_event(1, info=a_record(1, bytes(129))),
        an_event(1, info=a_record(2, b"x", bytes([65]) * 300)),
        an_event(1, info=a_record(1, b"file")[:-4]),
    ],
)
def test_what_is_no_event_is_refused_with_what_came_before(data: bytes) -> None:
    with pytest.raises(FanotifyGarbled) as refused:
        parse(an_event(2, fd=0) + data)

    assert [event.mask for event in refused.value.events] == [2]


PIECES = st.one_of(
    st.binary(max_size=64),
    st.builds(
        an_event,
        st.integers(0, 2**64 - 1),
        st.integers(-200, 2**31 - 1),
        st.integers(0, 2**31 - 1),
        st.binary(max_size=48)
        | st.builds(a_record, st.integers(0, 15), st.binary(max_size=20), st.binary(max_size=20)),
    ),
)


@given(st.lists(PIECES, max_size=5).map(b"".join))
def test_any_bytes_are_events_or_our_error(data: bytes) -> None:
    try:
        events = parse(data)
    except FanotifyGarbled:
        return

    assert len(events) * fanotify.EVENT_BYTES <= len(data)
    for event in events:
        assert event.fd >= -1
        assert all(len(info.handle) <= fanotify.HANDLE_BYTES_MAX for info in event.infos)
        assert all(len(info.name) <= fanotify.NAME_BYTES_MAX for info in event.infos)
