import sqlite3

import pytest

from collector.ledger.pending import (
    SCHEMA,
    add_pending,
    count_from,
    forget_pending,
    read_pending,
)
from proto import codec
from proto.model import Audit


def an_audit(action: str = "test") -> Audit:
    return Audit(actor="us", action=action, subject="it", outcome="done", at=1)


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    return db


def test_records_wait_in_the_order_they_were_made(db: sqlite3.Connection) -> None:
    add_pending(db, 4, [an_audit("a"), an_audit("b")])
    add_pending(db, 5, [an_audit("c")])

    waiting = read_pending(db, 1, 9)

    assert [(one.id, one.position) for one in waiting] == [(2, 4), (3, 5)]
    assert codec.decode_record(waiting[0].record) == (an_audit("b"), False)
    assert len(read_pending(db, 0, 1)) == 1


def test_an_id_is_never_used_twice(db: sqlite3.Connection) -> None:
    add_pending(db, 1, [an_audit()] * 3)
    forget_pending(db, 3)

    add_pending(db, 2, [an_audit()])

    assert [one.id for one in read_pending(db, 0, 9)] == [4]


def test_a_new_file_counts_on_from_where_an_old_one_came_to(db: sqlite3.Connection) -> None:
    count_from(db, 41)
    add_pending(db, 1, [an_audit()])

    assert [one.id for one in read_pending(db, 0, 9)] == [42]


def test_a_record_that_no_record_may_be_is_left_out_and_the_others_stay(
    db: sqlite3.Connection,
) -> None:
    add_pending(db, 1, [an_audit(), an_audit("x" * 1000), an_audit()])

    assert len(read_pending(db, 0, 9)) == 2
