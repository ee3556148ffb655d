"""The laws of the header log: what was appended is read back, whatever happened to the file."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import OutboxFailed
from agent.segments import SegmentId
from agent.sense import headers
from agent.sense.headers import (
    Committed,
    Declared,
    Freed,
    HeaderLog,
    Note,
    Opened,
    Sealed,
    Stopped,
    decode_notes,
    encode_note,
)
from proto.model import DroppedRange, DropReason, Priority

SEGMENT = SegmentId(7, Priority.LOW)
RANGE = DroppedRange(
    reason=DropReason.EVICTED,
    epoch=b"e" * 16,
    first_seq=3,
    last_seq=9,
    last_header_hash=b"h" * 32,
    batches=7,
    records=70,
)


def a_commit(seq: int, header: bytes = b"header") -> Committed:
    sealed = Sealed(
        epoch=b"e" * 16,
        seq=seq,
        hash=bytes([seq % 256]) * 32,
        segment=SEGMENT,
        offset=seq * 100,
        length=90,
        records=1,
        header=header,
        signature=b"s" * 64,
    )
    return Committed((sealed,), {"authlog": b"%d" % seq}, seq)


NOTES: list[Note] = [
    Opened(b"e" * 16, b"b" * 16, 1),
    a_commit(1),
    a_commit(2),
    Freed(SEGMENT, (RANGE,)),
    Declared(b"e" * 16, 10, (RANGE,)),
    a_commit(3, bytes(300)),
    Stopped({"authlog": b"3"}),
]


def a_log(path: Path, notes: list[Note] = NOTES) -> HeaderLog:
    log = HeaderLog(path / "headers.log")
    log.open()
    log.append(notes)
    return log


def reopened(path: Path) -> tuple[HeaderLog, list[Note], bool]:
    log = HeaderLog(path / "headers.log")
    is_damaged = log.open()
    return log, list(log.notes()), is_damaged


def test_notes_are_read_back_as_they_were_appended(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.append([a_commit(4)])
    log.close()
    log.close()

    again, notes, is_damaged = reopened(tmp_path)

    assert notes == [*NOTES, a_commit(4)]
    assert again.size_bytes == (tmp_path / "headers.log").stat().st_size
    assert not is_damaged
    again.close()


def test_only_its_owner_may_read_the_log(tmp_path: Path) -> None:
    a_log(tmp_path).close()

    assert (tmp_path / "headers.log").stat().st_mode & 0o777 == 0o600


def test_a_log_cut_at_any_offset_opens_with_every_note_before_the_cut(tmp_path: Path) -> None:
    a_log(tmp_path).close()
    file = tmp_path / "headers.log"
    whole = file.read_bytes()
    ends = [end for _, end, _ in decode_notes(whole)]

    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        log, notes, is_damaged = reopened(tmp_path)
        assert notes == NOTES[: sum(end <= cut for end in ends)]
        # A note cut short by a crash never counted: nothing is amiss.
        assert not is_damaged
        log.append([a_commit(9)])
        log.close()
        again, notes, _ = reopened(tmp_path)
        again.close()
        assert notes[-1] == a_commit(9)


def test_a_flipped_bit_costs_the_note_it_hits_and_no_other(tmp_path: Path) -> None:
    a_log(tmp_path).close()
    file = tmp_path / "headers.log"
    whole = file.read_bytes()
    places = [(begin, end) for begin, end, _ in decode_notes(whole)]

    for at in range(0, len(whole), 3):
        raw = bytearray(whole)
        raw[at] ^= 1 << (at % 8)
        file.write_bytes(raw)
        log, notes, is_damaged = reopened(tmp_path)
        hit = next(n for n, (begin, end) in enumerate(places) if begin <= at < end)
        assert notes == NOTES[:hit] + NOTES[hit + 1 :]
        assert is_damaged
        log.mend(notes)
        log.append([a_commit(9)])
        log.close()
        log, again, is_damaged = reopened(tmp_path)
        assert (again, is_damaged) == ([*notes, a_commit(9)], False)
        log.close()


def test_a_lost_block_of_zeros_costs_what_lay_there(tmp_path: Path) -> None:
    notes: list[Note] = [a_commit(n, bytes([n]) * 500) for n in range(1, 60)]
    a_log(tmp_path, notes).close()
    file = tmp_path / "headers.log"
    raw = bytearray(file.read_bytes())
    raw[8192 : 2 * 8192] = bytes(8192)
    file.write_bytes(raw)

    log, found, is_damaged = reopened(tmp_path)

    assert is_damaged
    assert found[0] == notes[0]
    assert found[-1] == notes[-1]
    assert len(notes) - 20 <= len(found) < len(notes)
    log.close()


def test_zeros_behind_the_last_note_are_no_damage(tmp_path: Path) -> None:
    a_log(tmp_path).close()
    with (tmp_path / "headers.log").open("ab") as file:
        file.write(bytes(5000))

    log, notes, is_damaged = reopened(tmp_path)

    assert notes == NOTES
    assert not is_damaged
    log.close()


def test_damage_is_kept_beside_the_log_and_stays_until_it_is_mended(tmp_path: Path) -> None:
    a_log(tmp_path).close()
    file = tmp_path / "headers.log"
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(raw)

    log, notes, _ = reopened(tmp_path)
    log.append([a_commit(8)])
    log.close()
    log, again, is_damaged = reopened(tmp_path)

    assert again == [*notes, a_commit(8)]
    assert is_damaged
    log.mend(again)
    assert (tmp_path / "headers.damaged").read_bytes()[: len(raw)] == raw
    log.close()
    assert not reopened(tmp_path)[2]


@given(st.binary(max_size=400))
def test_any_bytes_give_notes_or_nothing(data: bytes) -> None:
    assert all(0 <= begin < end <= len(data) for begin, end, _ in decode_notes(data))


@given(st.binary(max_size=60), st.integers(0, len(NOTES) - 1))
def test_a_note_is_found_behind_any_bytes(junk: bytes, which: int) -> None:
    note = NOTES[which]

    found = [found for *_, found in decode_notes(junk + b"\xff" + encode_note(note))]

    assert found[-1:] == [note]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_refused_append_leaves_the_log_as_it_was_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    log = a_log(tmp_path)
    real = getattr(os, call)

    def broken(*_args: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OutboxFailed):
        log.append([a_commit(4)])
    monkeypatch.setattr(os, call, real)

    # A crash now must not let the refused note count.
    assert reopened(tmp_path)[1] == NOTES
    log.append([a_commit(5)])
    assert reopened(tmp_path)[1] == [*NOTES, a_commit(5)]
    log.close()


def test_a_note_written_in_part_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log(tmp_path)
    real = os.pwrite
    calls = iter([True, False])

    def half(fd: int, data: memoryview, offset: int) -> int:
        if not next(calls):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: len(data) // 2], offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OutboxFailed):
        log.append([a_commit(4, bytes(4000))])
    monkeypatch.setattr(os, "pwrite", real)
    log.append([a_commit(5)])

    log.close()
    assert reopened(tmp_path)[1:] == ([*NOTES, a_commit(5)], False)


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_rewrite_is_whole_or_leaves_the_old_log_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    log = a_log(tmp_path)
    real = getattr(os, call)

    def broken(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OutboxFailed):
        log.rewrite([a_commit(1)])
    monkeypatch.setattr(os, call, real)

    log.append([a_commit(4)])
    assert reopened(tmp_path)[1] == [*NOTES, a_commit(4)]
    assert [file.name for file in tmp_path.iterdir()] == ["headers.log"]
    log.rewrite([a_commit(1)])
    log.append([a_commit(2)])
    log.close()
    assert reopened(tmp_path)[1] == [a_commit(1), a_commit(2)]


def test_nothing_is_added_to_a_log_whose_name_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log(tmp_path)

    def broken(_path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(headers, "fsync_dir", broken)
    with pytest.raises(OutboxFailed):
        log.rewrite([a_commit(1)])
    with pytest.raises(OutboxFailed):
        log.append([a_commit(2)])
    monkeypatch.undo()
    log.append([a_commit(2)])

    log.close()
    assert reopened(tmp_path)[1] == [a_commit(1), a_commit(2)]
