from pathlib import Path

from agent.segments import SegmentId
from agent.sense.headers import Committed, Note, Receipted, Sealed, encode_note
from bench.outboxlog import OutboxLog
from proto.model import Priority

OLD, NEW = bytes(16), bytes(15) + b"\1"


def a_commit(epoch: bytes, *seqs: int) -> Committed:
    sealed = [
        Sealed(
            epoch=epoch,
            seq=seq,
            hash=bytes(32),
            segment=SegmentId(1, Priority.LOW),
            offset=0,
            length=1,
            records=1,
            header=b"",
            signature=b"",
        )
        for seq in seqs
    ]
    return Committed(tuple(sealed), {}, 0)


def a_receipt(epoch: bytes, seq: int, *ahead: int) -> Receipted:
    return Receipted(epoch, seq, ahead, 0, b"", b"")


def noted(path: Path, *notes: Note) -> None:
    with path.open("ab") as file:
        file.writelines(encode_note(note) for note in notes)


def test_what_was_noted_since_the_last_look_is_taken_in_once(tmp_path: Path) -> None:
    path = tmp_path / "headers.log"
    log = OutboxLog(path)
    log.catch_up()
    noted(path, a_commit(OLD, 1, 2))
    log.catch_up()
    log.catch_up()
    noted(path, a_commit(OLD, 3), a_receipt(OLD, 2))
    log.catch_up()

    assert log.commits == 2
    assert (log.head.epoch, log.head.seq) == (OLD, 3)
    assert log.receipted == {OLD: 2}


def test_only_a_receipt_for_what_was_sealed_later_is_beyond(tmp_path: Path) -> None:
    path = tmp_path / "headers.log"
    log = OutboxLog(path)
    noted(path, a_commit(OLD, 1, 2))
    log.catch_up()
    head = log.head

    noted(path, a_receipt(OLD, 2))
    log.catch_up()
    assert not log.has_receipt_beyond(head)

    noted(path, a_commit(OLD, 3), a_receipt(OLD, 1, 3))
    log.catch_up()
    assert log.has_receipt_beyond(head)


def test_a_receipt_in_a_later_epoch_is_beyond_and_in_an_older_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "headers.log"
    log = OutboxLog(path)
    noted(path, a_commit(NEW, 9), a_commit(OLD, 1))
    log.catch_up()
    head = log.head

    noted(path, a_receipt(NEW, 9))
    log.catch_up()
    assert not log.has_receipt_beyond(head)

    later = bytes(15) + b"\2"
    noted(path, a_commit(later, 1), a_receipt(later, 1))
    log.catch_up()
    assert log.has_receipt_beyond(head)


def test_a_note_cut_short_is_taken_in_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "headers.log"
    log = OutboxLog(path)
    note = encode_note(a_commit(OLD, 1))
    path.write_bytes(note[:-3])
    log.catch_up()
    assert log.commits == 0

    path.write_bytes(note)
    log.catch_up()
    assert log.commits == 1
