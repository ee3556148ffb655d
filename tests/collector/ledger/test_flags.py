import sqlite3

import pytest
from msgspec import structs

from collector.ledger import schema
from collector.ledger.flags import (
    Flag,
    FlagKind,
    insert_flag,
    is_quarantined,
    read_flags,
    read_orphans,
    release_flags,
)

FORK = Flag(
    position=5,
    at=100,
    agent=b"a" * 16,
    epoch=b"e" * 16,
    seq=3,
    kind=FlagKind.FORK,
    quarantines=True,
)


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(schema.LEDGER)
    return db


def a_batch(db: sqlite3.Connection, position: int) -> None:
    db.execute(
        "INSERT INTO batches VALUES (?, 1, ?, 0, 1, x'', x'', x'', x'')", (position, position)
    )


def test_a_flag_quarantines_from_its_position_on_and_its_agent_alone(
    db: sqlite3.Connection,
) -> None:
    insert_flag(db, FORK)

    assert [is_quarantined(db, FORK.agent, position) for position in (4, 5, 900)] == [
        False,
        True,
        True,
    ]
    assert not is_quarantined(db, b"b" * 16, 5)
    assert not is_quarantined(db, b"b" * 16, 5)


def test_what_quarantines_nobody_is_noted_all_the_same(db: sqlite3.Connection) -> None:
    insert_flag(db, structs.replace(FORK, quarantines=False))

    assert not is_quarantined(db, FORK.agent, 5)
    assert len(read_flags(db, 0, 9)) == 1


def test_one_kind_in_one_epoch_is_noted_once_while_it_is_in_force(db: sqlite3.Connection) -> None:
    for seq in range(3, 9):
        insert_flag(db, structs.replace(FORK, seq=seq))
    insert_flag(db, structs.replace(FORK, kind=FlagKind.BODY))

    assert [flag.seq for flag in read_flags(db, 0, 9)] == [3, 3]
    assert read_flags(db, 1, 9)[0].kind is FlagKind.BODY


def test_a_release_holds_for_what_comes_and_changes_nothing_of_what_was(
    db: sqlite3.Connection,
) -> None:
    a_batch(db, 7)
    insert_flag(db, FORK)

    released = release_flags(db, FORK.agent)

    assert released == 1
    assert [is_quarantined(db, FORK.agent, position) for position in (5, 7, 8)] == [
        True,
        True,
        False,
    ]
    insert_flag(db, structs.replace(FORK, position=9))
    assert [is_quarantined(db, FORK.agent, position) for position in (8, 9)] == [False, True]


def test_an_orphan_is_a_loss_of_state_that_has_stood_for_long_and_condemned_nobody(
    db: sqlite3.Connection,
) -> None:
    loss = structs.replace(FORK, kind=FlagKind.STATE_LOSS, quarantines=False)
    insert_flag(db, loss)
    insert_flag(db, structs.replace(loss, epoch=b"f" * 16, at=900))
    insert_flag(db, structs.replace(loss, epoch=b"g" * 16, quarantines=True))

    assert [flag.epoch for flag in read_orphans(db, 500, 9)] == [loss.epoch]
    insert_flag(db, structs.replace(loss, kind=FlagKind.ORPHAN, quarantines=True))
    assert read_orphans(db, 500, 9) == []
