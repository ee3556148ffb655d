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
from agent.sense.sensors.filecontent import SLICE_BYTES
from agent.sense.sensors.filelook import Looker
from agent.sense.sensors.filerows import encode_row, key_of, row_of
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.fileverdict import Verdicts
from agent.sense.sensors.told import Told, ToldLimits
from proto.model import File, Observation, ObservationKind, Precision, User
from runtime.clock import Clock, SystemClock
from tests.agent.sense.sensors.dpkghost import DpkgHost
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
        self.use(self.clock)

    def use(self, clock: Clock) -> None:
        self.verdicts = Verdicts(self.host, clock, lambda _: True)
        self.looker = Looker(self.host, clock, self.told, SETTINGS, self.verdicts)

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
    desk.use(SystemClock())
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


class PackagedDesk(Desk):
    """A host with dpkg, one package and one file of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.dpkg = DpkgHost(self.root)
        self.dpkg.install("p", {"file": b"one", "odd": b"x"}, conffiles=("odd",))
        self.judge_anew()

    def judge_anew(self) -> None:
        for _ in self.verdicts.refresh():
            pass

    def words(self, name: str = "file", *, is_baseline: bool = False) -> list[str]:
        told = files_of(self.look(name, is_baseline=is_baseline))
        return [f"{kind.value}: {', '.join(file.caveats)}" for kind, file in told]


@pytest.fixture
def packaged(tmp_path: Path) -> Iterator[PackagedDesk]:
    made = PackagedDesk(tmp_path)
    yield made
    made.close()


def test_a_file_is_told_with_its_package_and_others_with_none(packaged: PackagedDesk) -> None:
    (packaged.root / "mine").write_bytes(b"x")
    (packaged.root / "link").symlink_to("file")

    assert packaged.file().package == "p"
    assert packaged.file("mine").package is None
    assert packaged.file("link").package is UNSET


def test_a_packaged_file_that_changes_differs_still_differs_and_no_longer_differs(
    packaged: PackagedDesk,
) -> None:
    told = packaged.words(is_baseline=True)
    for data in (b"evil", b"worse", b"one", b"evil"):
        packaged.dpkg.write("file", data)
        told += packaged.words() + packaged.words()
    (packaged.root / "file").unlink()
    told += packaged.words()

    assert told == [
        "file_seen: ",
        "file_changed: differs from its package",
        "file_changed: still differs from its package",
        "file_changed: no longer differs from its package",
        "file_changed: differs from its package",
        "file_removed: no longer differs from its package",
    ]


def test_a_conffile_may_be_anything(packaged: PackagedDesk) -> None:
    packaged.dpkg.write("odd", b"the administrator's own")

    assert packaged.words("odd") == ["file_created: "]


def test_a_file_upgraded_before_its_list_is_never_blamed(packaged: PackagedDesk) -> None:
    packaged.look()
    (packaged.dpkg.dpkg / "updates/0001").touch()
    packaged.dpkg.write("file", b"two")
    told = packaged.words()
    packaged.dpkg.list("p", {"file": b"two", "odd": b"x"}, conffiles=("odd",))
    (packaged.dpkg.dpkg / "updates/0001").unlink()
    packaged.judge_anew()
    told += packaged.words()

    row = packaged.looker.row(b"/file")
    assert told == ["file_changed: not compared with its package yet"]
    assert row is not None
    assert not row.waits
    assert not row.blamed


def test_a_file_that_differs_when_dpkg_has_ended_is_blamed_then(packaged: PackagedDesk) -> None:
    packaged.look()
    (packaged.dpkg.dpkg / "updates/0001").touch()
    packaged.dpkg.write("file", b"evil")
    told = packaged.words()
    (packaged.dpkg.dpkg / "updates/0001").unlink()
    told += packaged.words() + packaged.words()

    assert told == [
        "file_changed: not compared with its package yet",
        "file_seen: differs from its package",
    ]


def test_a_list_that_changes_under_a_file_judges_it_anew_without_reading_it(
    packaged: PackagedDesk,
) -> None:
    packaged.look()
    packaged.dpkg.list("p", {"file": b"two"})
    packaged.judge_anew()
    packaged.disk.fail(b"/file", errno.EIO, after=1)
    told = packaged.words()
    packaged.disk.mend()
    packaged.dpkg.list("p", {"file": b"one"})
    packaged.judge_anew()
    told += packaged.words()

    assert told == [
        "file_seen: differs from its package",
        "file_seen: no longer differs from its package",
    ]


def test_a_file_that_a_package_claims_later_is_read_for_it_once(packaged: PackagedDesk) -> None:
    (packaged.root / "late").write_bytes(b"evil")
    packaged.look("late")
    packaged.dpkg.list("q", {"late": b"good"})
    packaged.judge_anew()

    assert packaged.words("late") == ["file_seen: differs from its package"]
    assert packaged.words("late") == []


def test_a_file_that_cannot_be_read_stays_as_it_was_judged(packaged: PackagedDesk) -> None:
    packaged.dpkg.write("file", b"evil")
    packaged.look()
    packaged.dpkg.write("file", b"worse")
    packaged.disk.fail(b"/file", errno.EIO, after=1)
    told = packaged.words()
    packaged.disk.mend()
    packaged.dpkg.write("file", b"one")

    assert told == ["file_changed: unreadable"]
    assert packaged.words() == ["file_changed: no longer differs from its package"]


def test_a_package_that_goes_takes_its_blame_with_it(packaged: PackagedDesk) -> None:
    packaged.dpkg.write("file", b"evil")
    packaged.look()
    (packaged.dpkg.dpkg / "info/p.md5sums").unlink()
    packaged.judge_anew()

    assert packaged.words() == ["file_seen: no longer differs from its package"]


def test_what_was_judged_is_remembered(packaged: PackagedDesk) -> None:
    packaged.dpkg.write("file", b"evil")
    packaged.look()
    packaged.told.commit(1)
    packaged.use(packaged.clock)
    packaged.looker.count_anew()
    packaged.judge_anew()

    assert packaged.words() == []
