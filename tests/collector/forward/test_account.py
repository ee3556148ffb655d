"""What is settled is written once, whole, even when the task that asked for it is gone."""

import threading
from pathlib import Path

import pytest

from collector.errors import LedgerUnavailable
from collector.forward.account import Account
from collector.forward.event import Place
from collector.forward.states import Phase, State
from collector.forward.store import ForwardReader, ForwardStore, Health, Progress, Status
from collector.forward.window import Parcel, Window
from tests.collector.forward.test_window import a_parcel, an_item
from tests.fakes.clock import FakeClock

RUNNING = Health(Phase.RUNNING)


class SlowStore(ForwardStore):
    """Commits when told to, or fails."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.go.set()
        self.commits = 0
        self.is_full = False

    def commit(self, name: str, progress: Progress, health: Health, now: int) -> None:
        self.go.wait(5)
        if self.is_full:
            raise LedgerUnavailable("the disk is full")
        self.commits += 1
        super().commit(name, progress, health, now)


class Setting:
    def __init__(self, path: Path, letters_max: int = 10) -> None:
        self.path = path / "forward.db"
        self.store = SlowStore(self.path)
        self.clock = FakeClock()
        self.account = Account("splunk", self.store, letters_max, self.clock)
        self.account.begin(0, 100)

    def status(self) -> Status:
        with ForwardReader(self.path) as reader:
            return reader.statuses()[0]


def settled(number: int, state: State = State.ACCEPTED) -> Parcel:
    parcel = a_parcel(number)
    parcel.moved(state)
    return parcel


def test_what_is_settled_is_written_once(tmp_path: Path) -> None:
    setting = Setting(tmp_path)

    setting.account.settle([settled(1), settled(2)])
    setting.account.resent(1)
    for _ in range(3):
        setting.account.write(RUNNING, None)

    assert setting.status().counts[State.ACCEPTED] == 2
    assert setting.status().resent == 1
    assert setting.status().cursor == setting.account.cursor == Place(2)


def test_a_commit_that_outlives_its_task_is_not_counted_twice(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.store.go.clear()
    setting.account.settle([settled(1)])

    first = threading.Thread(target=setting.account.write, args=(RUNNING, None))
    first.start()
    second = threading.Thread(target=setting.account.write, args=(RUNNING, None))
    second.start()
    setting.store.go.set()
    first.join()
    second.join()

    assert setting.status().counts[State.ACCEPTED] == 1


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.store.is_full = True
    setting.account.settle([settled(1)])

    with pytest.raises(LedgerUnavailable):
        setting.account.write(RUNNING, None)
    setting.store.is_full = False
    setting.account.settle([settled(2)])
    setting.account.write(RUNNING, None)

    assert setting.status().counts[State.ACCEPTED] == 2


def test_counts_and_changes_of_health_are_due_at_once_and_idle_moves_can_wait(
    tmp_path: Path,
) -> None:
    setting = Setting(tmp_path)
    account = setting.account
    account.write(RUNNING, None)

    nothing = account.is_due(RUNNING, None)
    account.passed(Place(7))
    soon = account.is_due(RUNNING, None)
    setting.clock.forward(1)
    later = account.is_due(RUNNING, None)
    account.write(RUNNING, None)
    parked = account.is_due(Health(Phase.PARKED), None)
    account.settle([settled(8)])

    assert (nothing, soon, later, parked) == (False, False, True, True)
    assert account.is_due(RUNNING, None)


def test_the_cursor_never_goes_back(tmp_path: Path) -> None:
    setting = Setting(tmp_path)

    setting.account.passed(Place(7))
    setting.account.passed(Place(3))

    assert setting.account.cursor == Place(7)


def test_a_cursor_beyond_the_mark_is_of_a_ledger_restored_since(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.account.passed(Place(50))
    setting.account.write(RUNNING, None)

    again = Account("splunk", setting.store, 10, setting.clock)
    begun = again.begin(0, mark=20)

    assert begun.was_ahead
    assert again.cursor == Place(20)


def test_room_for_letters_counts_those_under_way(tmp_path: Path) -> None:
    setting = Setting(tmp_path, letters_max=3)
    account, window = setting.account, Window()
    account.settle([Parcel([an_item(1)], reason="bad")])
    account.write(RUNNING, None)
    account.settle([Parcel([an_item(2)], reason="bad")])

    two = account.has_room_for_letters(window)
    window.add(Parcel([an_item(3)], reason="bad"))
    three = account.has_room_for_letters(window)
    account.write(RUNNING, None)
    account.recount_letters()

    assert (two, three) == (True, False)
    assert account.has_room_for_letters(Window())


def test_a_letter_that_was_taken_leaves_the_dead(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.account.settle([Parcel([an_item(1)], reason="bad")])
    setting.account.write(RUNNING, None)

    again = Parcel([an_item(1, letter=1)])
    again.moved(State.ACCEPTED)
    setting.account.settle([again])
    setting.account.write(RUNNING, None)

    assert setting.status().letters == 0
    assert setting.status().counts[State.DEAD] == 1
