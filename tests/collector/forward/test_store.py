"""The cursor and what it passes are written together, and read beside the writer."""

import sqlite3
from pathlib import Path

import pytest

from collector.errors import LedgerError, LedgerForeign, LedgerUnavailable
from collector.forward.event import EventKind, Place
from collector.forward.states import Phase, State
from collector.forward.store import (
    REASON_CHARS_MAX,
    ForwardReader,
    ForwardStore,
    Health,
    Letter,
    Progress,
    Status,
)
from tests.collector.builders import NOW

RUNNING = Health(Phase.RUNNING)


def a_letter(id_: int = 0, **changes: object) -> Letter:
    values: dict[str, object] = {
        "id": id_,
        "destination": "splunk",
        "uid": "uid",
        "kind": EventKind.FINDING,
        "position": 4,
        "index": 2,
        "at": NOW,
        "reason": "bad",
        "encoded": b"{}",
    }
    return Letter(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forward.db"


def a_store(path: Path) -> ForwardStore:
    store = ForwardStore(path)
    store.begin("splunk", 0, NOW)
    return store


def status(path: Path) -> Status:
    with ForwardReader(path) as reader:
        (found,) = reader.statuses()
    return found


def test_a_new_destination_begins_where_it_should_and_an_old_one_where_it_was(path: Path) -> None:
    store = ForwardStore(path)

    first = store.begin("splunk", 7, NOW)
    store.commit("splunk", Progress(cursor=Place(9, 3), log_size=5), RUNNING, NOW)
    again = store.begin("splunk", 100, NOW)

    assert first == (Place(7), 0)
    assert again == (Place(9, 3), 5)


def test_what_was_committed_is_there_after_the_file_is_opened_again(path: Path) -> None:
    store = a_store(path)
    progress = Progress(
        cursor=Place(4, 3),
        counts={State.ACCEPTED: 3, State.DEAD: 1},
        resent=2,
        dead=[a_letter()],
        oldest=NOW - 5,
    )
    store.commit("splunk", progress, Health(Phase.WAITING, "busy", "no ids"), NOW)
    store.close()

    found = status(path)

    assert found.cursor == Place(4, 3)
    assert found.counts[State.ACCEPTED] == 3
    assert found.counts[State.DEAD] == 1
    assert (found.resent, found.letters, found.oldest, found.changed) == (2, 1, NOW - 5, NOW)
    assert (found.phase, found.detail, found.degraded) == (Phase.WAITING, "busy", "no ids")


def test_counts_add_up_and_a_cursor_that_is_not_given_stays(path: Path) -> None:
    store = a_store(path)
    store.commit("splunk", Progress(cursor=Place(4), counts={State.CONFIRMED: 3}), RUNNING, NOW)
    store.commit("splunk", Progress(counts={State.CONFIRMED: 2}), RUNNING, NOW)

    assert status(path).counts[State.CONFIRMED] == 5
    assert status(path).cursor == Place(4)


def test_a_commit_is_whole_or_nothing(path: Path) -> None:
    store = a_store(path)
    broken = a_letter(uid=None)

    with pytest.raises(LedgerError):
        store.commit("splunk", Progress(cursor=Place(9), dead=[broken]), RUNNING, NOW)

    assert status(path).cursor == Place(0)
    assert store.letter_count("splunk") == 0


def test_destinations_do_not_see_each_other(path: Path) -> None:
    store = a_store(path)
    store.begin("other", 0, NOW)
    store.commit("other", Progress(cursor=Place(8), dead=[a_letter(destination="other")]),
                 RUNNING, NOW)  # fmt: skip

    with ForwardReader(path) as reader:
        cursors = {one.name: one.cursor for one in reader.statuses()}
        assert reader.letters("splunk", 0, 9) == []
        assert len(reader.letters("other", 0, 9)) == 1
    assert cursors == {"splunk": Place(0), "other": Place(8)}
    assert (store.letter_count("splunk"), store.letter_count("other")) == (0, 1)


def test_a_letter_that_was_taken_is_gone_and_one_refused_again_counts_up(path: Path) -> None:
    store = a_store(path)
    store.commit("splunk", Progress(dead=[a_letter(), a_letter(uid="two")]), RUNNING, NOW)

    again = a_letter(2, uid="two", reason="worse", at=NOW + 1)
    store.commit("splunk", Progress(dead=[again], redriven=[1]), RUNNING, NOW)

    with ForwardReader(path) as reader:
        (letter,) = reader.letters("splunk", 0, 9)
    assert (letter.uid, letter.reason, letter.attempts, letter.at) == ("two", "worse", 2, NOW + 1)


def test_a_long_reason_is_cut(path: Path) -> None:
    store = a_store(path)
    store.commit("splunk", Progress(dead=[a_letter(reason="x" * 5000)]), RUNNING, NOW)

    with ForwardReader(path) as reader:
        assert len(reader.letters("splunk", 0, 9)[0].reason) == REASON_CHARS_MAX


def test_pages_of_letters_follow_each_other(path: Path) -> None:
    store = a_store(path)
    store.commit("splunk", Progress(dead=[a_letter() for _ in range(5)]), RUNNING, NOW)

    with ForwardReader(path) as reader:
        first = reader.letters("splunk", 0, 3)
        second = reader.letters("splunk", first[-1].id, 3)

    assert [letter.id for letter in (*first, *second)] == [1, 2, 3, 4, 5]


def test_a_file_that_is_not_there_yet_is_said(path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        ForwardReader(path)


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    a_store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(LedgerForeign):
        ForwardStore(path)


def test_the_file_is_durable_at_every_commit(path: Path) -> None:
    store = a_store(path)

    (mode,) = store._db.execute("PRAGMA synchronous").fetchone()  # noqa: SLF001 - no other way to see

    assert mode == 2
