"""The laws of segment files: made whole, read only where they check, gone when removed."""

import errno
import os
import stat
from pathlib import Path

import pytest

from agent.errors import OutboxFailed, OutboxFull, SegmentDamaged
from agent.segments import FRAME_BYTES, SegmentId
from agent.sense.segstore import SEGMENT_BYTES_MIN, Segment, SegmentStore
from proto.model import Priority

SIZE = 512 * 1024
EPOCH = b"e" * 16


def a_store(path: Path, group: int | None = None) -> SegmentStore:
    return SegmentStore(path, group, SIZE)


def filled(store: SegmentStore, payloads: list[bytes], number: int = 1) -> Segment:
    segment = store.create(number, Priority.LOW, EPOCH, needed=100)
    for seq, payload in enumerate(payloads, start=1):
        store.write(segment, seq, payload)
    store.sync(segment)
    return segment


def salvaged(store: SegmentStore, segment: SegmentId) -> list[bytes]:
    with store.reader(segment) as reader:
        return [payload for _, payload in reader.salvage()]


def test_a_new_segment_has_its_full_size_written_and_is_closed_to_others(tmp_path: Path) -> None:
    segment = a_store(tmp_path, os.getgid()).create(1, Priority.HIGH, EPOCH, needed=100)

    found = segment.path.stat()

    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_gid == os.getgid()
    assert segment.path.name == "0000000000000001.high.seg"
    segment.close()


def test_a_segment_is_made_large_enough_for_one_large_batch(tmp_path: Path) -> None:
    segment = a_store(tmp_path).create(1, Priority.LOW, EPOCH, needed=SIZE + 1000)

    assert segment.size == SIZE + 1000
    assert segment.has_room(SIZE)
    assert not segment.has_room(SIZE + 1000)
    segment.close()
    assert not segment.has_room(1)


def test_entries_are_read_back_by_their_offset_and_nothing_else_is(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    segment = filled(store, [b"one", b"two"])

    with store.reader(segment.id) as reader:
        assert reader.payload_at(0) == b"one"
        assert reader.payload_at(FRAME_BYTES + 3) == b"two"
        for offset in (1, FRAME_BYTES, segment.filled, SIZE, SIZE + 1):
            with pytest.raises(SegmentDamaged):
                reader.payload_at(offset)
    segment.close()


def test_a_flipped_bit_costs_the_entry_it_hits_and_no_other(tmp_path: Path) -> None:
    payloads = [bytes([n]) * 200 for n in range(1, 6)]
    store = a_store(tmp_path)
    segment = filled(store, payloads)
    whole = segment.path.read_bytes()

    for at in range(0, segment.filled, 7):
        raw = bytearray(whole[: segment.filled])
        raw[at] ^= 0x10
        segment.path.write_bytes(raw)
        hit = at // (FRAME_BYTES + 200)
        assert salvaged(store, segment.id) == payloads[:hit] + payloads[hit + 1 :]
    segment.close()


def test_a_segment_cut_at_any_offset_gives_the_entries_before_the_cut(tmp_path: Path) -> None:
    payloads = [bytes([n]) * 50 for n in range(1, 5)]
    store = a_store(tmp_path)
    segment = filled(store, payloads)
    whole = segment.path.read_bytes()[: segment.filled]

    for cut in range(len(whole) + 1):
        segment.path.write_bytes(whole[:cut])
        assert salvaged(store, segment.id) == payloads[: cut // (FRAME_BYTES + 50)]
    segment.close()


def test_entries_of_another_file_or_place_do_not_count(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    one, two = filled(store, [b"one" * 50], 1), filled(store, [b"two" * 50], 2)
    raw = bytearray(two.path.read_bytes())
    raw[1000 : 1000 + FRAME_BYTES + 150] = raw[: FRAME_BYTES + 150]
    two.path.write_bytes(raw)
    one.path.write_bytes(bytes(raw))

    assert salvaged(store, one.id) == []
    assert salvaged(store, two.id) == [b"two" * 50]
    one.close()
    two.close()


def test_only_regular_files_with_a_segments_name_are_segments(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    segment = filled(store, [b"one"], 3)
    (tmp_path / "0000000000000009.low.seg").mkdir()
    (tmp_path / "000000000000000a.low.seg").symlink_to(segment.path)
    (tmp_path / "0000000000000003.LOW.seg").write_bytes(b"x")
    (tmp_path / "readme").write_bytes(b"x")
    os.mkfifo(tmp_path / "000000000000000b.low.seg")

    assert list(store.present()) == [(SegmentId(3, Priority.LOW), SIZE)]
    segment.close()


def test_a_link_in_place_of_a_segment_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "0000000000000001.low.seg").symlink_to(tmp_path / "secret")

    with pytest.raises(OSError, match="symbolic link"):
        a_store(tmp_path).reader(SegmentId(1, Priority.LOW))


def test_removal_gives_the_space_back_under_a_reader_that_holds_on(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    segment = filled(store, [b"one"])

    with segment.path.open("rb") as held:
        store.remove(segment)
        after = os.fstat(held.fileno())

    assert after.st_size == 0
    assert after.st_blocks == 0
    assert not segment.path.exists()
    store.remove(segment)


def test_a_number_is_never_given_to_a_second_file(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    segment = filled(store, [b"one"])

    with pytest.raises(OutboxFailed):
        store.create(1, Priority.LOW, EPOCH, needed=100)

    assert salvaged(store, segment.id) == [b"one"]
    segment.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_gets_a_smaller_segment_or_none_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    room = SEGMENT_BYTES_MIN + 1000
    real = os.pwrite

    def tight(fd: int, data: memoryview, offset: int) -> int:
        if offset + len(data) > room:
            raise OSError(number, "full")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", tight)
    segment = a_store(tmp_path).create(1, Priority.LOW, EPOCH, needed=100)
    assert segment.size == SEGMENT_BYTES_MIN
    segment.close()
    room = 1000
    with pytest.raises(OutboxFull):
        a_store(tmp_path).create(2, Priority.LOW, EPOCH, needed=100)

    assert [file.name for file in tmp_path.iterdir()] == [segment.path.name]


@pytest.mark.parametrize(("number", "expected"), [(errno.EIO, OutboxFailed)])
def test_another_error_of_the_disk_is_told_apart(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[OutboxFailed],
) -> None:
    store = a_store(tmp_path)
    segment = store.create(1, Priority.LOW, EPOCH, needed=100)

    def broken(*_args: object) -> int:
        raise OSError(number, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(expected):
        store.write(segment, 1, b"x")
    with pytest.raises(expected):
        store.create(2, Priority.LOW, EPOCH, needed=100)
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(expected):
        store.sync(segment)
    assert not segment.is_open
    assert len(list(tmp_path.iterdir())) == 1


def test_a_directory_that_cannot_be_synced_fails_the_removal_in_our_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store(tmp_path)
    segment = filled(store, [b"one"])

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutboxFailed):
        store.remove(segment)
