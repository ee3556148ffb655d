"""One look at one file tells what moved, hashes what it can, and opens nothing but files."""

import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.ports import Sighting
from agent.sense.sensors.filelook import SLICE_BYTES, Looker
from agent.sense.sensors.filerows import encode_row, key_of, row_of
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.told import Told, ToldLimits
from proto.model import File, Observation, ObservationKind, Precision, User
from runtime.clock import SystemClock
from tests.agent.sense.sensors.driving import files_of
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FailingDisk

HASH_BYTES_MAX = 4 * SLICE_BYTES
SETTINGS = FileSettings(hash_bytes_max=HASH_BYTES_MAX, entries_max=10)


class Desk:
    """A host and a looker at its files."""

    def __init__(self, root: Path) -> None:
        self.root = root / "host"
        self.root.mkdir()
        self.clock = FakeClock()
        self.told = Told(root / "state.db", ToldLimits(1 << 22, 100))
        self.told.open(b"")
        self.disk = FailingDisk()
        self.host = HostRoot(self.root, self.disk)
        self.looker = Looker(self.host, self.clock, self.told, SETTINGS)

    def close(self) -> None:
        self.told.close()
        self.host.close()

    def look(self, name: str = "file", *, is_baseline: bool = False) -> list[Sighting]:
        self.looker.out = []
        for _ in self.looker.look(b"/" + name.encode(), is_baseline=is_baseline):
            pass
        return self.looker.out

    def file(self, name: str = "file") -> File:
        ((_, file),) = files_of(self.look(name))
        return file


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_a_new_file_is_told_with_all_there_is_to_say(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(b"content")
    path.chmod(0o640)
    seen = path.stat()

    (told,) = desk.look()

    assert isinstance(told, Observation)
    assert told.kind is ObservationKind.FILE_CREATED
    assert (told.event_time, told.event_precision) == (seen.st_ctime_ns, Precision.EXACT)
    assert told.observed_at == desk.clock.wall_ns()
    assert told.subject.value == File(
        path="/file",
        sha256=hashlib.sha256(b"content").digest(),
        size=7,
        mode=0o100640,
        owner=User(uid=os.getuid()),
        changed=seen.st_ctime_ns,
        inode=seen.st_ino,
    )


def test_a_file_that_was_there_before_us_is_seen_and_not_created(desk: Desk) -> None:
    (desk.root / "file").write_bytes(b"x")

    (told,) = desk.look(is_baseline=True)

    assert isinstance(told, Observation)
    assert told.kind is ObservationKind.FILE_SEEN
    assert (told.event_time, told.event_precision) == (desk.clock.wall_ns(), Precision.POLL)


def test_what_did_not_move_is_not_told_again(desk: Desk) -> None:
    (desk.root / "file").write_bytes(b"x")
    desk.look()

    assert desk.look() == []


def test_a_change_behind_an_old_modification_time_is_told(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(b"good")
    desk.look()
    before = path.stat()

    path.write_bytes(b"evil")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ((kind, file),) = files_of(desk.look())

    assert kind is ObservationKind.FILE_CHANGED
    assert file.sha256 == hashlib.sha256(b"evil").digest()


def test_a_removal_tells_what_was_there(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(b"x")
    created = desk.file()

    path.unlink()
    ((kind, file),) = files_of(desk.look())

    assert kind is ObservationKind.FILE_REMOVED
    assert file == created
    assert desk.look() == []


def test_a_directory_in_its_place_is_a_removal(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(b"x")
    desk.look()

    path.unlink()
    path.mkdir()

    assert [kind for kind, _ in files_of(desk.look())] == [ObservationKind.FILE_REMOVED]


def test_a_link_is_told_and_never_followed(desk: Desk) -> None:
    (desk.root / "target").write_bytes(b"x")
    (desk.root / "file").symlink_to("target")

    file = desk.file()

    assert (file.sha256, file.caveats) == (None, ("symbolic link",))


def test_a_fifo_a_socket_and_a_device_are_told_and_never_opened(desk: Desk) -> None:
    os.mkfifo(desk.root / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(desk.root)
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)

    assert desk.file("fifo").caveats == ("fifo",)
    assert desk.file("socket").caveats == ("socket",)


@pytest.mark.root
def test_a_device_is_told_and_never_opened(desk: Desk) -> None:
    try:
        os.mknod(desk.root / "null", 0o020666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device is not permitted here")

    assert desk.file("null").caveats == ("character device",)


def test_a_file_over_the_limit_is_told_without_its_hash(desk: Desk) -> None:
    (desk.root / "file").touch()
    os.truncate(desk.root / "file", HASH_BYTES_MAX + 1)

    file = desk.file()

    assert (file.sha256, file.caveats) == (UNSET, ("too large to hash",))
    assert file.size == HASH_BYTES_MAX + 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_file_that_cannot_be_read_is_told_without_its_hash(desk: Desk, code: int) -> None:
    (desk.root / "file").write_bytes(b"x")
    desk.disk.fail(b"/file", code, after=1)

    file = desk.file()
    desk.disk.mend()

    assert (file.sha256, file.caveats) == (UNSET, ("unreadable",))
    assert desk.look() == []


def test_a_file_that_cannot_be_asked_about_is_not_taken_for_gone(desk: Desk) -> None:
    (desk.root / "file").write_bytes(b"x")
    desk.look()

    desk.disk.fail(b"/file", errno.EIO)

    assert desk.look() == []
    assert desk.looker.row(b"/file") is not None


def test_a_file_that_goes_between_the_look_and_the_reading_is_removed(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(b"x")
    desk.look()
    path.write_bytes(b"y")
    desk.disk.fail(b"/file", errno.ENOENT, after=1)

    assert [kind for kind, _ in files_of(desk.look())] == [ObservationKind.FILE_REMOVED]


def test_a_file_that_becomes_a_device_before_the_reading_is_looked_at_again(desk: Desk) -> None:
    (desk.root / "file").write_bytes(b"x")
    desk.disk.fail(b"/file", errno.ENXIO, after=1)

    file = desk.file()
    row = desk.looker.row(b"/file")

    assert file.caveats == ("changed",)
    assert row is not None
    assert row.unsure


def test_hashing_is_cut_into_slices(desk: Desk) -> None:
    data = os.urandom(2 * SLICE_BYTES + 5)
    (desk.root / "file").write_bytes(data)

    steps = sum(1 for _ in desk.looker.look(b"/file", is_baseline=False))
    ((_, file),) = files_of(desk.looker.out)

    assert steps == 2
    assert file.sha256 == hashlib.sha256(data).digest()


def test_a_file_that_changes_while_it_is_read_has_no_hash_and_is_looked_at_again(
    desk: Desk,
) -> None:
    path = desk.root / "file"
    path.write_bytes(bytes(2 * SLICE_BYTES))
    steps = desk.looker.look(b"/file", is_baseline=False)

    next(steps)
    path.write_bytes(b"other")
    for _ in steps:
        pass
    ((_, torn),) = files_of(desk.looker.out)
    ((kind, whole),) = files_of(desk.look())

    assert (torn.sha256, torn.caveats) == (UNSET, ("changed",))
    assert (kind, whole.sha256) == (
        ObservationKind.FILE_CHANGED,
        hashlib.sha256(b"other").digest(),
    )


def test_a_file_replaced_while_it_is_read_is_told_as_it_was_and_then_as_it_is(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(bytes(2 * SLICE_BYTES))
    steps = desk.looker.look(b"/file", is_baseline=False)

    next(steps)
    (desk.root / "new").write_bytes(b"new")
    (desk.root / "new").replace(path)
    for _ in steps:
        pass
    first = files_of(desk.looker.out)
    second = files_of(desk.look())

    assert len(first) == 1
    assert [(kind, file.sha256) for kind, file in second] == [
        (ObservationKind.FILE_CHANGED, hashlib.sha256(b"new").digest())
    ]


def test_a_file_removed_while_it_is_opened_is_not_told(desk: Desk) -> None:
    path = desk.root / "file"
    path.write_bytes(b"x")
    seen = desk.looker.stat(b"/file")
    path.unlink()

    assert seen is not None
    assert desk.look() == []


def test_two_looks_at_the_same_change_tell_it_once(desk: Desk) -> None:
    (desk.root / "file").write_bytes(bytes(2 * SLICE_BYTES))
    slow = desk.looker.look(b"/file", is_baseline=False)
    next(slow)

    for _ in desk.looker.look(b"/file", is_baseline=False):
        pass
    for _ in slow:
        pass

    assert len(desk.looker.out) == 1


def test_a_file_written_just_now_is_not_sure_to_stay(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.looker = Looker(desk.host, SystemClock(), desk.told, SETTINGS)
    (desk.root / "file").write_bytes(b"one")

    desk.look()
    row = desk.looker.row(b"/file")
    desk.close()

    assert row is not None
    assert row.unsure


@pytest.mark.parametrize(("hashed", "told"), [(b"one", 0), (b"two", 1)])
def test_an_unsure_file_is_hashed_again_although_no_stamp_moved(
    desk: Desk, hashed: bytes, told: int
) -> None:
    path = desk.root / "file"
    path.write_bytes(b"one")
    row = row_of(path.stat(), hashlib.sha256(hashed).digest(), unsure=True)
    desk.told.put(key_of(b"/file"), encode_row(row))

    first = desk.look()
    kept = desk.looker.row(b"/file")

    assert len(first) == told
    assert kept is not None
    assert (kept.sha256, kept.unsure) == (hashlib.sha256(b"one").digest(), False)


def test_a_name_that_is_no_text_is_shown_escaped(desk: Desk) -> None:
    name = b"\xff\nfile"
    (desk.root / os.fsdecode(name)).write_bytes(b"x")

    for _ in desk.looker.look(b"/" + name, is_baseline=False):
        pass
    ((_, file),) = files_of(desk.looker.out)

    assert file.path == "/\\xff\nfile"


def test_what_is_forgotten_is_neither_removed_nor_known(desk: Desk) -> None:
    (desk.root / "file").write_bytes(b"x")
    desk.look()

    desk.looker.forget(b"/file")

    assert desk.looker.row(b"/file") is None


def test_no_more_files_are_remembered_than_the_limit_and_the_rest_is_counted(desk: Desk) -> None:
    for n in range(12):
        (desk.root / f"f{n}").touch()
    told = [desk.look(f"f{n}") for n in range(12)]
    (desk.root / "f0").unlink()
    desk.look("f0")

    again = desk.look("f11")

    assert [len(each) for each in told] == [1] * 10 + [0] * 2
    assert desk.looker.over == 2
    assert len(again) == 1
