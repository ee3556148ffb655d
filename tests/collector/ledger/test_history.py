import sqlite3

import pytest

from collector.ledger import schema
from collector.ledger.chain import Lost, Place
from collector.ledger.history import CHAINS_CACHED_MAX, History, load_epoch, newest_epochs, to_lost
from proto.model import DroppedRange, DropReason, EpochReason, EpochStart

AGENT, EPOCH = b"a" * 16, b"e" * 16


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(schema.LEDGER)
    return db


def a_range(first: int, last: int) -> DroppedRange:
    return DroppedRange(
        reason=DropReason.EVICTED,
        epoch=EPOCH,
        first_seq=first,
        last_seq=last,
        last_header_hash=b"l" * 32,
        batches=last - first + 1,
        records=0,
    )


def test_a_chain_is_read_back_as_it_was_saved(db: sqlite3.Connection) -> None:
    history = History(db)
    epoch = history.create(AGENT, EPOCH)
    history.lose(epoch, a_range(4, 6), position=1)
    history.save(epoch, now=77)

    found = load_epoch(db, AGENT, EPOCH)

    assert found is not None
    assert found.chain == epoch.chain
    assert found.chain.lost == (Lost(4, 6, b"l" * 32),)
    assert found.hole_since == 77


def test_a_hole_keeps_the_time_it_was_first_seen_until_it_closes(db: sqlite3.Connection) -> None:
    history = History(db)
    epoch = history.create(AGENT, EPOCH)
    history.lose(epoch, a_range(4, 6), position=1)
    history.save(epoch, now=77)
    history.save(epoch, now=99)

    assert epoch.hole_since == 77
    history.lose(epoch, a_range(1, 3), position=2)
    history.save(epoch, now=111)
    assert epoch.chain.head == Place(6, b"l" * 32)
    assert epoch.hole_since is None


def test_a_chain_that_comes_after_its_child_ends_where_the_child_says(
    db: sqlite3.Connection,
) -> None:
    history = History(db)
    child = history.create(AGENT, b"c" * 16)
    history.open(child, EpochStart(EpochReason.CLEAN_START, EPOCH, 9, b"h" * 32))

    parent = history.create(AGENT, EPOCH)

    assert parent.chain.end == Place(9, b"h" * 32)
    history.save(parent, now=5)
    assert parent.hole_since == 5


def test_what_is_forgotten_is_read_from_the_file_again(db: sqlite3.Connection) -> None:
    history = History(db)
    epoch = history.create(AGENT, EPOCH)
    history.save(epoch, now=1)

    history.forget()

    assert history.find(AGENT, EPOCH) is not epoch
    assert history.find(AGENT, b"x" * 16) is None


def test_an_epoch_is_a_root_once_its_first_batch_names_no_parent(db: sqlite3.Connection) -> None:
    history = History(db)
    first, second = history.create(AGENT, EPOCH), history.create(AGENT, b"f" * 16)

    unopened = history.has_other_root(second)
    history.open(first, None)

    assert not unopened
    assert history.has_other_root(second)
    assert not history.has_other_root(first)
    history.open(first, EpochStart(EpochReason.CLEAN_START, b"p" * 16, 1, b"h" * 32))
    assert not history.has_other_root(second)


def test_the_newest_epochs_come_first(db: sqlite3.Connection) -> None:
    history = History(db)
    for number in range(4):
        history.create(AGENT, bytes([number]) * 16)

    assert [one.epoch[0] for one in newest_epochs(db, AGENT, 2)] == [3, 2]


def test_a_head_says_what_is_kept_and_asks_for_what_is_missing(db: sqlite3.Connection) -> None:
    history = History(db)
    epoch = history.create(AGENT, EPOCH)
    history.lose(epoch, a_range(1, 3), position=1)

    head = epoch.to_head()

    assert (head.seq, head.header_hash, head.wanted) == (0, b"", 4)
    assert to_lost(a_range(1, 3)) == Lost(1, 3, b"l" * 32)
    assert CHAINS_CACHED_MAX > 10_000
