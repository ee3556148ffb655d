from pathlib import Path

import pytest

from collector.errors import LedgerForeign, LedgerUnavailable, NotLogged
from collector.ledger.log import ADMITTED, CHECKPOINTS_KEPT_MAX, NEWER, Entry, LogReader, TenantLog
from proto.errors import ProofRejected
from proto.merkle import leaf_hash, verify_consistency, verify_inclusion
from proto.note import NoteKey
from proto.tlog import open_checkpoint
from tests.collector.ledger.world import LOG_KEY, an_audit

ORIGIN = "example-org/log/t/g"


@pytest.fixture
def log(tmp_path: Path) -> TenantLog:
    return TenantLog(tmp_path / "log.db", ORIGIN, LOG_KEY)


def entries(first: int, last: int) -> list[Entry]:
    return [
        Entry(
            position=number,
            header_hash=leaf_hash(b"header %d" % number),
            leaf=leaf_hash(b"%d" % number),
            outcome=ADMITTED,
        )
        for number in range(first, last + 1)
    ]


def test_the_verified_mark_and_the_log_move_together_and_survive(
    log: TenantLog, tmp_path: Path
) -> None:
    log.record(entries(1, 5))
    log.close()

    again = TenantLog(tmp_path / "log.db", ORIGIN, LOG_KEY)

    assert (again.reader.mark(), again.reader.size(), again.size) == (5, 5, 5)
    again.record(entries(6, 7))
    assert again.reader.outcomes(4, 9) == [(5, ADMITTED), (6, ADMITTED), (7, ADMITTED)]


def test_a_checkpoint_is_signed_for_what_is_new_and_only_then(log: TenantLog) -> None:
    assert log.checkpoint(1) is None
    with pytest.raises(NotLogged):
        log.reader.checkpoint()

    log.record(entries(1, 3))
    note = log.checkpoint(2)

    assert note is not None
    assert note == log.reader.checkpoint()
    assert log.checkpoint(3) is None
    checkpoint = open_checkpoint(note, [NoteKey(ORIGIN, LOG_KEY.public)])
    assert (checkpoint.origin, checkpoint.head) == (ORIGIN, log.reader.head_at(3))


def test_every_entry_is_proven_under_the_newest_checkpoint_and_under_an_older_one(
    log: TenantLog,
) -> None:
    log.record(entries(1, 6))
    log.checkpoint(1)
    log.record(entries(7, 11))
    log.checkpoint(2)

    for size in (0, 6, 11):
        for index in range(size or 11):
            found = log.reader.inclusion(index, size)
            head = open_checkpoint(found.checkpoint, [NoteKey(ORIGIN, LOG_KEY.public)]).head
            verify_inclusion(leaf_hash(b"%d" % (index + 1)), index, found.path, head)


def test_an_older_tree_is_proven_to_be_the_beginning_of_a_newer_one(log: TenantLog) -> None:
    log.record(entries(1, 13))

    for old in range(1, 14):
        proof = log.reader.consistency(old, 13)
        verify_consistency(log.reader.head_at(old), log.reader.head_at(13), proof)
    with pytest.raises(ProofRejected):
        log.reader.consistency(0, 13)
    with pytest.raises(NotLogged):
        log.reader.consistency(5, 14)
    with pytest.raises(NotLogged):
        log.reader.head_at(14)


def test_what_no_checkpoint_covers_is_not_proven_yet(log: TenantLog) -> None:
    log.record(entries(1, 2))
    log.checkpoint(1)
    log.record(entries(3, 3))

    with pytest.raises(NotLogged) as caught:
        log.reader.inclusion(2)
    assert caught.value.retryable
    with pytest.raises(NotLogged):
        log.reader.inclusion(0, 1)


def test_old_checkpoints_go_and_the_newest_stay(log: TenantLog) -> None:
    for number in range(1, CHECKPOINTS_KEPT_MAX + 4):
        log.record(entries(number, number))
        log.checkpoint(number)

    with pytest.raises(NotLogged):
        log.reader.inclusion(0, 3)
    assert log.reader.inclusion(0, 4).index == 0


def test_a_refusal_is_an_entry_but_no_batch_is_found_by_it(log: TenantLog) -> None:
    plain, refused = entries(1, 2)
    log.record(
        [
            plain,
            Entry(
                position=refused.position,
                header_hash=refused.header_hash,
                leaf=refused.leaf,
                outcome=NEWER,
                refusal=b"no",
                signature=b"s",
            ),
        ]
    )

    assert log.reader.positions(plain.header_hash) == [(0, 1)]
    assert log.reader.positions(refused.header_hash) == []
    assert (log.reader.refused(), log.reader.newer(9)) == (1, [2])


def test_a_notice_is_stored_once_under_its_name(log: TenantLog) -> None:
    first = log.tell("flag/1", 1, [an_audit()])
    again = log.tell("flag/1", 2, [an_audit()])

    assert (first, again, log.reader.is_told("flag/1")) == (True, False, True)
    (waiting,) = log.pending(0, 9)
    log.forget(waiting.id)
    assert log.pending(0, 9) == []


def test_another_logs_file_is_refused(log: TenantLog, tmp_path: Path) -> None:
    log.close()

    with pytest.raises(LedgerForeign, match=ORIGIN):
        TenantLog(tmp_path / "log.db", "example-org/log/t/other", LOG_KEY)
    with pytest.raises(LedgerUnavailable):
        LogReader(tmp_path / "none.db")
