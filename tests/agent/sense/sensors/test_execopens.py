"""Each exec gets the file it ran or none, never another's; a failed one is told as such."""

import errno
import hashlib
from pathlib import Path

import pytest

from agent.sense.sensors.descriptors import Descriptors
from agent.sense.sensors.execopens import WAIT_S_MAX, ExecOpens, Taken
from agent.sense.sensors.fanotify import FanotifyGarbled
from agent.sense.sensors.hashqueue import HashQueue
from agent.sense.sensors.imagehash import ImageHashes
from agent.syscalls import FileFacts
from tests.agent.sense.sensors.driving import no_more_descriptors
from tests.agent.sense.sensors.elves import Programs, open_descriptors
from tests.fakes.clock import FakeClock
from tests.fakes.opens import FakeOpens


class AnExec(Programs):
    """Programs, what is told of opening them, and which process is seen to run which file."""

    def __init__(self, folder: Path, *, images_max: int = 64) -> None:
        super().__init__(folder)
        self.clock = FakeClock()
        self.clock.wall = 1 << 62  # every file is old
        self.events = FakeOpens()
        hashes = ImageHashes(self.clock, size_bytes_max=1 << 20, entries_max=64)
        self.queue = HashQueue(hashes, images_max, self.clock, lambda _pid, _image: False)
        self.running: dict[int, Path] = {}
        self.opens = ExecOpens(
            self.events, self.queue, Descriptors(self.clock), self.clock, self.is_running
        )

    def is_running(self, pid: int, facts: FileFacts) -> bool | None:
        if pid not in self.running:
            return None
        return self.running[pid].stat().st_ino == facts.inode

    def exec(self, pid: int, *, later: int = 0) -> Taken:
        return self.opens.take(pid, self.clock.boot_ns(), later)

    def hash_all(self) -> None:
        while self.queue.is_hashing:
            self.queue.step()


@pytest.fixture
def host(tmp_path: Path) -> AnExec:
    return AnExec(tmp_path)


def ran(taken: Taken) -> str:
    image = taken.ran.image if taken.ran else None
    return image.path.decode().rpartition("/")[2] if image else ""


def failed(taken: Taken) -> list[str]:
    images = [each.image for each in taken.failed]
    return [image.path.decode().rpartition("/")[2] for image in images if image]


def test_an_exec_gets_the_program_and_its_digest_and_not_the_loader(host: AnExec) -> None:
    host.events.opened(7, host.true, host.loader)

    assert host.opens.fill()
    host.hash_all()
    taken = host.exec(7)

    assert (ran(taken), taken.is_certain, taken.failed) == ("true", True, ())
    assert taken.ran
    assert taken.ran.image
    assert taken.ran.image.shot
    assert taken.ran.image.shot.sha256 == hashlib.sha256(host.true.read_bytes()).digest()


def test_a_script_is_told_with_its_interpreter(host: AnExec) -> None:
    host.events.opened(7, host.script, host.true, host.loader)

    host.opens.fill()
    taken = host.exec(7)

    assert ran(taken) == "true"
    assert taken.ran
    assert taken.ran.script
    assert taken.ran.script.path.endswith(b"/script")


def test_a_program_without_a_loader_is_the_program(host: AnExec) -> None:
    host.events.opened(7, host.static)
    host.events.opened(8, host.static_pie)

    host.opens.fill()

    assert ran(host.exec(7)) == "static"
    assert ran(host.exec(8)) == "static-pie"


def test_processes_are_kept_apart_and_their_execs_in_order(host: AnExec) -> None:
    host.events.opened(7, host.true, host.loader)
    host.events.opened(8, host.id, host.loader)
    host.events.opened(7, host.static)

    host.opens.fill()

    assert ran(host.exec(7, later=1)) == "true"
    assert ran(host.exec(8)) == "id"
    assert ran(host.exec(7)) == "static"


def test_a_try_whose_loader_was_never_opened_failed(host: AnExec) -> None:
    host.events.opened(7, host.id)
    host.events.opened(7, host.true, host.loader)

    host.opens.fill()
    taken = host.exec(7)

    assert (ran(taken), failed(taken), taken.is_certain) == ("true", ["id"], True)


def test_a_decoy_that_fails_does_not_lend_its_name_to_what_runs(host: AnExec) -> None:
    host.events.opened(7, host.true)  # too many arguments: it fails
    host.events.opened(7, host.static_pie)  # and this would pass for its loader

    host.opens.fill()
    taken = host.exec(7)

    assert (ran(taken), failed(taken)) == ("static-pie", ["true"])


def test_two_that_could_have_run_are_told_apart_by_the_process(host: AnExec) -> None:
    host.events.opened(7, host.static, host.static_pie)
    host.running[7] = host.static_pie

    host.opens.fill()
    taken = host.exec(7)

    assert (ran(taken), failed(taken), taken.is_certain) == ("static-pie", ["static"], False)


def test_where_the_process_has_ended_too_the_choice_is_not_called_certain(host: AnExec) -> None:
    host.events.opened(7, host.static, host.static_pie)

    host.opens.fill()

    assert host.exec(7).is_certain is False


def test_an_identical_exec_inherits_the_file_it_merged_with(host: AnExec) -> None:
    for _ in range(3):
        host.events.opened(7, host.true, host.loader)
    host.running[7] = host.true

    host.opens.fill()
    first, again = host.exec(7, later=2), host.exec(7, later=1)

    assert (ran(first), ran(again), again.is_certain) == ("true", "true", True)
    del host.running[7]
    assert host.exec(7).is_certain is False


def test_a_later_exec_without_a_file_has_none(host: AnExec) -> None:
    host.events.opened(7, host.true, host.loader)
    host.opens.fill()
    host.exec(7)

    host.clock.forward(0.01)
    host.opens.fill()

    assert host.exec(7) == Taken(None)


def test_an_exec_of_something_else_does_not_inherit(host: AnExec) -> None:
    host.events.opened(7, host.true, host.loader)
    host.opens.fill()
    host.exec(7, later=1)
    host.running[7] = host.static

    assert host.exec(7) == Taken(None)


def test_a_loader_alone_is_not_taken_for_the_program(host: AnExec) -> None:
    host.events.opened(7, host.loader)

    host.opens.fill()

    assert ran(host.exec(7)) == ""


def test_what_looks_like_a_loader_but_anybody_may_write_is_a_program(host: AnExec) -> None:
    host.loader.chmod(0o777)
    host.events.opened(7, host.true, host.loader)

    host.opens.fill()
    taken = host.exec(7)

    assert ran(taken) == "ld-linux-x86-64.so.2"


@pytest.mark.parametrize("kind", ["overflow", "without_descriptor"])
def test_nothing_is_joined_across_a_loss(host: AnExec, kind: str) -> None:
    host.events.opened(7, host.true, host.loader)
    if kind == "overflow":
        host.events.overflow()
    else:
        host.events.without_descriptor(8)
    host.events.opened(7, host.id, host.loader)
    host.events.opened(8, host.id, host.loader)
    host.opens.fill()

    before = [host.exec(7, later=1), host.exec(7), host.exec(8)]
    host.clock.forward(0.01)
    host.events.opened(7, host.static)
    host.opens.fill()
    after = host.exec(7)

    assert [ran(taken) for taken in before] == ["true", "", ""]
    assert ran(after) == "static"
    assert host.opens.take_lost() == 1
    assert host.opens.take_lost() == 0
    host.clock.forward(WAIT_S_MAX + 1)
    assert list(host.opens.failed()) == []


def test_what_merged_before_a_loss_is_not_inherited(host: AnExec) -> None:
    host.events.opened(7, host.true, host.loader)
    host.events.overflow()
    host.running[7] = host.true
    host.opens.fill()

    assert ran(host.exec(7, later=1)) == "true"
    assert host.exec(7) == Taken(None)


def test_what_no_exec_follows_within_a_second_has_failed_and_is_told_once(host: AnExec) -> None:
    host.events.opened(7, host.id)
    host.events.opened(8, host.loader)
    host.opens.fill()
    at = host.clock.boot_ns()
    early = list(host.opens.failed())
    due = host.opens.due()

    host.clock.forward(WAIT_S_MAX)
    told = list(host.opens.failed())

    assert early == []
    assert due == at + WAIT_S_MAX * 1_000_000_000
    assert [(pid, each.image.path if each.image else b"") for pid, each in told] == [
        (7, str(host.id).encode())
    ]
    assert list(host.opens.failed()) == []
    assert host.opens.due() is None


def test_a_lost_exec_lets_what_it_opened_be_forgotten(host: AnExec) -> None:
    host.events.opened(7, host.id, host.loader)
    host.opens.fill()

    host.opens.forget()

    assert host.exec(7) == Taken(None)
    assert host.opens.take_lost() == 0


def test_no_more_is_read_than_there_is_room_for(tmp_path: Path) -> None:
    host = AnExec(tmp_path, images_max=2)
    for pid in range(10, 20):
        program = host.add(f"program{pid}", host.static.read_bytes() + bytes([pid]))
        host.events.opened(pid, program)

    drained = host.opens.fill()
    host.hash_all()
    rounds = 0
    while not host.opens.fill():
        host.hash_all()
        rounds += 1

    assert drained is False
    assert max(host.events.reads) <= 2
    assert rounds >= 3
    digests = {
        taken.ran.image.shot.sha256
        for pid in range(10, 20)
        if (taken := host.exec(pid)).ran and taken.ran.image and taken.ran.image.shot
    }
    assert len(digests) == 10


def test_without_descriptors_nothing_is_read_and_nothing_lost(host: AnExec) -> None:
    host.events.opened(7, host.true, host.loader)

    with no_more_descriptors():
        states = [(host.opens.fill(), host.opens.is_starved)]
    states.append((host.opens.fill(), host.opens.is_starved))

    assert states == [(False, True), (True, False)]
    assert ran(host.exec(7)) == "true"


def test_an_older_kernel_without_a_descriptor_is_a_loss_and_is_asked_again(host: AnExec) -> None:
    host.events.error = OSError(errno.EMFILE, "no descriptor")
    drained = host.opens.fill()
    host.events.error = None

    assert not drained
    assert host.opens.take_lost() == 1
    assert host.opens.fill()
    assert not host.opens.is_broken


@pytest.mark.parametrize("error", [FanotifyGarbled("what?"), OSError(errno.EBADF, "gone")])
def test_a_source_that_makes_no_sense_is_given_up_and_holds_nothing_up(
    host: AnExec, error: Exception
) -> None:
    host.events.error = error

    assert host.opens.fill()
    assert host.opens.fill()
    assert host.opens.is_broken
    assert host.opens.take_lost() == 1
    assert host.exec(7) == Taken(None)


def test_no_descriptor_stays_open(host: AnExec) -> None:
    before = open_descriptors()
    host.events.opened(7, host.script, host.true, host.loader)
    host.events.opened(0, host.id)
    host.opens.fill()

    host.queue.clear()
    host.opens.close()

    assert open_descriptors() <= before
    assert host.events.is_closed
