"""What was told is told once: nothing lost, nothing twice, through crashes and damage."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sense.ports import Sighting
from agent.sense.sensors.told import Opening, StateLost, Told, ToldLimits
from proto.model import Drop, DropReason

LIMITS = ToldLimits(size_bytes_max=1 << 22, journal_rows_max=1000)
NOW = 1_790_000_000_000_000_000


def a_sighting(number: int = 1) -> Drop:
    return Drop(reason=DropReason.OVERFLOW, count=number, detail="x" * (number % 50))


OPENED: list[Told] = []


@pytest.fixture(autouse=True)
def all_closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def a_state(path: Path, cursor: bytes = b"", limits: ToldLimits = LIMITS) -> Told:
    told, _ = opened(path, cursor, limits)
    return told


def opened(path: Path, cursor: bytes = b"", limits: ToldLimits = LIMITS) -> tuple[Told, Opening]:
    while OPENED:  # one owner at a time: the one before has been killed
        OPENED.pop().close()
    told = Told(path / "state.db", limits)
    OPENED.append(told)
    return told, told.open(cursor)


def tell(told: Told, number: int, *, key: bytes = b"k") -> bytes:
    """Tell one thing as a sensor's poll does, and return the cursor after it."""
    told.put(key, b"%d" % number)
    told.tell(a_sighting(number))
    told.commit(NOW + number)
    return told.cursor()


def all_again(told: Told) -> list[Sighting]:
    again: list[Sighting] = []
    while more := told.replay(3):
        again += more
    return again


def test_a_first_start_is_new_and_nothing_was_lost(tmp_path: Path) -> None:
    told, opening = opened(tmp_path)

    assert opening == Opening(is_new=True)
    assert all_again(told) == []
    assert told.get(b"k") is None


def test_what_was_sealed_is_not_told_again_and_its_row_stays(tmp_path: Path) -> None:
    first = a_state(tmp_path)
    sealed = tell(first, 1)
    first.close()

    second, opening = opened(tmp_path, sealed)

    assert opening == Opening(is_new=False, seen=NOW + 1)
    assert all_again(second) == []
    assert second.get(b"k") == b"1"


def test_what_was_not_sealed_is_told_again_in_order_as_it_was(tmp_path: Path) -> None:
    first = a_state(tmp_path)
    sealed = tell(first, 1)
    for number in range(2, 10):
        tell(first, number)

    second = a_state(tmp_path, sealed)

    assert all_again(second) == [a_sighting(number) for number in range(2, 10)]
    assert second.cursor()[:24] == first.cursor()[:24]


def test_a_crash_during_the_replay_replays_the_rest(tmp_path: Path) -> None:
    first = a_state(tmp_path)
    sealed = first.cursor()
    for number in range(1, 6):
        tell(first, number)

    second = a_state(tmp_path, sealed)
    assert second.replay(2) == [a_sighting(1), a_sighting(2)]
    third = a_state(tmp_path, second.cursor())

    assert all_again(third) == [a_sighting(3), a_sighting(4), a_sighting(5)]


def test_what_was_never_stored_was_never_told(tmp_path: Path) -> None:
    first = a_state(tmp_path)
    sealed = tell(first, 1)
    first.put(b"k", b"2")
    first.tell(a_sighting(2))

    second = a_state(tmp_path, sealed)

    assert all_again(second) == []
    assert second.get(b"k") == b"1"


def test_a_state_of_before_a_power_cut_gives_no_generation_twice(tmp_path: Path) -> None:
    first = a_state(tmp_path)
    tell(first, 1)
    first.close()
    shutil.copy(tmp_path / "state.db", tmp_path / "old.db")
    first = a_state(tmp_path, first.cursor())
    sealed = tell(first, 2)
    first.close()

    (tmp_path / "old.db").replace(tmp_path / "state.db")
    second = a_state(tmp_path, sealed)
    after = tell(second, 3)
    third = a_state(tmp_path, sealed)

    assert after > sealed
    assert all_again(third) == [a_sighting(3)]


def test_a_cursor_of_another_state_replays_all_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    foreign = tell(a_state(tmp_path / "other"), 1)
    tell(a_state(tmp_path), 2)

    second = a_state(tmp_path, foreign)

    assert all_again(second) == [a_sighting(2)]


def test_a_state_that_is_gone_is_said(tmp_path: Path) -> None:
    told = a_state(tmp_path)
    sealed = tell(told, 1)
    told.close()
    (tmp_path / "state.db").unlink()

    _, opening = opened(tmp_path, sealed)

    assert opening == Opening(is_new=True, lost="the state is gone", seen=NOW + 1)


def test_more_unsealed_than_the_journal_keeps_begins_anew_and_says_so(tmp_path: Path) -> None:
    limits = ToldLimits(size_bytes_max=1 << 22, journal_rows_max=10)
    first = a_state(tmp_path, limits=limits)
    sealed = tell(first, 1)
    for number in range(2000):
        first.tell(a_sighting(number))
    first.commit(NOW)
    first.close()

    second, opening = opened(tmp_path, sealed, limits)

    assert (opening.is_new, opening.lost) == (True, "more was told than the journal keeps")
    assert second.get(b"k") is None
    assert second.between(b"", b"\xff", 10) == []


def test_rows_lie_in_the_order_of_their_keys_and_go_when_forgotten(tmp_path: Path) -> None:
    told = a_state(tmp_path)
    for key in (b"b", b"a\xff", b"c", b"a"):
        told.put(key, key * 2)
    told.commit(NOW)
    told.put(b"b", None)
    told.commit(NOW)

    assert told.between(b"a", b"c", 10) == [(b"a", b"aa"), (b"a\xff", b"a\xffa\xff")]
    assert told.between(b"a", b"c", 1) == [(b"a", b"aa")]
    assert told.count() == 3


def test_a_row_that_waits_to_be_written_is_known_to_wait(tmp_path: Path) -> None:
    told = a_state(tmp_path)

    told.put(b"k", b"v")
    waits = told.is_written(b"k")
    told.commit(NOW)

    assert not waits
    assert told.is_written(b"k")


def test_a_full_database_keeps_telling_and_remembers_in_memory(tmp_path: Path) -> None:
    limits = ToldLimits(size_bytes_max=64 * 1024, journal_rows_max=1000)
    told = a_state(tmp_path, limits=limits)

    for number in range(200):
        told.put(b"%d" % number, b"v" * 2000)
        told.tell(a_sighting(number))
        told.commit(NOW)

    assert "full" in told.problem
    assert all(told.get(b"%d" % number) == b"v" * 2000 for number in range(200))
    for number in range(200):
        told.put(b"%d" % number, None)
    told.commit(NOW)
    assert told.problem == ""
    assert (tmp_path / "state.db").stat().st_size <= 64 * 1024


def test_a_directory_that_refuses_costs_memory_and_not_the_start(tmp_path: Path) -> None:
    told, opening = opened(tmp_path / "missing")

    assert opening.is_new
    assert "memory only" in told.problem
    tell(told, 1)
    assert told.get(b"k") == b"1"


def test_a_file_that_is_no_database_is_moved_aside_and_counted(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database at all" * 100)

    told, opening = opened(tmp_path)

    assert opening.is_new
    assert opening.lost.startswith("the state was damaged")
    assert told.rebuilt == 1
    assert (tmp_path / "state.db.damaged").read_bytes().startswith(b"not a database")
    tell(told, 1)
    assert all_again(a_state(tmp_path)) == [a_sighting(1)]


@given(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=64))
def test_damage_anywhere_never_stops_a_start_and_a_new_state_is_sound(
    at: int, noise: bytes
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        first = a_state(path)
        for number in range(30):
            first.put(b"key %d" % number, bytes(300))
            first.tell(a_sighting(number))
        first.commit(NOW)
        first.close()
        data = bytearray((path / "state.db").read_bytes())
        at %= len(data)
        data[at : at + len(noise)] = noise
        (path / "state.db").write_bytes(data)

        told = a_state(path)
        was_lost = False
        try:
            all_again(told)
            told.between(b"", b"\xff", 100)
            tell(told, 7)
            told.get(b"k")
        except StateLost as error:
            was_lost = True
            told.reopen(error.message)
            tell(told, 7)
        cursor = told.cursor()
        told.close()
        after, opening = opened(path, cursor)
        kept = after.get(b"k") if was_lost else b"7"
        after.close()

    assert kept == b"7"
    assert not (was_lost and opening.is_new)


def test_a_state_that_is_damaged_again_and_again_ends_in_memory(tmp_path: Path) -> None:
    told = a_state(tmp_path)

    for _ in range(5):
        told.reopen("damage")
        tell(told, 1)

    assert "again and again" in told.problem
    assert told.get(b"k") == b"1"


def test_a_journal_that_is_no_sighting_is_damage(tmp_path: Path) -> None:
    first = a_state(tmp_path)
    sealed = first.cursor()
    tell(first, 1)
    first.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE journal SET sighting = x'00'")
    db.close()

    second = a_state(tmp_path, sealed)

    with pytest.raises(StateLost):
        second.replay(10)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["tell", "tell", "seal", "crash", "stop"]), max_size=30))
def test_every_sighting_is_sealed_exactly_once_whatever_happens(steps: list[str]) -> None:
    sealed: list[int] = []
    waiting: list[int] = []
    number = 0
    with tempfile.TemporaryDirectory() as directory:
        told = a_state(Path(directory))
        cursor = told.cursor()
        for step in [*steps, "crash", "seal"]:
            if step == "tell":
                number += 1
                tell(told, number)
                waiting.append(number)
                continue
            if step in {"seal", "stop"}:
                sealed += waiting
                waiting = []
                cursor = told.cursor()
            if step in {"crash", "stop"}:
                told.close()
                told = a_state(Path(directory), cursor)
                waiting = [seen.count or 0 for seen in all_again(told) if isinstance(seen, Drop)]
        told.close()

    assert sealed == list(range(1, number + 1))


def test_a_state_that_cannot_be_set_aside_is_replaced_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "state.db.damaged" / "occupied").mkdir(parents=True)
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)

    told = a_state(tmp_path)
    tell(told, 1)

    assert all_again(a_state(tmp_path)) == [a_sighting(1)]


def test_a_state_in_the_hands_of_another_process_costs_memory_and_not_the_start(
    tmp_path: Path,
) -> None:
    owner = Told(tmp_path / "state.db", LIMITS)
    owner.open(b"")
    tell(owner, 1)

    told = a_state(tmp_path)
    tell(told, 2)

    assert "locked" in told.problem
    assert told.get(b"k") == b"2"
    owner.close()


def test_what_cannot_be_written_is_kept_in_memory_up_to_a_bound(tmp_path: Path) -> None:
    told = a_state(tmp_path, limits=ToldLimits(64 * 1024, 1 << 20))
    for number in range(9000):
        told.put(b"%d" % number, b"v" * 100)
        told.tell(a_sighting(number))
    told.commit(NOW)

    assert told.problem
    assert told.forgotten == 9000 - 8192
    assert told.get(b"8999") == b"v" * 100


def test_a_closed_state_answers_nothing_and_keeps_its_cursor(tmp_path: Path) -> None:
    told = a_state(tmp_path)
    cursor = tell(told, 1)

    told.close()
    told.close()

    assert told.get(b"k") is None
    assert told.cursor() == cursor
    told.put(b"k", b"2")
    told.commit(NOW)
    assert told.problem == "the state is closed"


def test_a_cell_of_another_type_is_damage(tmp_path: Path) -> None:
    told = a_state(tmp_path)
    sealed = tell(told, 1)
    told.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE rows SET value = 'text'")
    db.close()

    again = a_state(tmp_path, sealed)

    with pytest.raises(StateLost):
        again.get(b"k")
