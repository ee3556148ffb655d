"""The laws of recovery: whatever is left of an outbox, the daemon starts and names what is gone."""

import os
import shutil
import subprocess
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.errors import OutboxError, OutboxFailed
from agent.segments import FRAME_BYTES, SegmentId, encode_entry
from agent.sense import recovery
from agent.sense.headers import Committed, HeaderLog, decode_notes, encode_note
from agent.sense.outbox import Outbox, OutboxSettings
from agent.sense.recovery import Recovered
from agent.sense.seal import SealedBatch, Sealer
from agent.sense.segstore import SegmentStore
from certs.signatures import SigningKey
from proto.model import DropReason, EpochReason, EpochStart, Priority
from tests.agent.sense.builders import SMALL, Host, a_batch, a_receipt, an_outbox, give
from tests.agent.sense.test_outbox import delivered

COLLECTOR = SigningKey.generate()
HIGH, LOW = Priority.HIGH, Priority.LOW
TINY_LOG = OutboxSettings(
    size_bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024, header_log_bytes_max=64 * 1024
)


class Life:
    """An outbox over several runs, and every batch that was acknowledged."""

    def __init__(self, path: Path, settings: OutboxSettings = SMALL) -> None:
        self.path = path
        self.settings = settings
        self.host = Host()
        self.batches: dict[tuple[bytes, int], SealedBatch] = {}
        self.sealer: Sealer
        self.outbox: Outbox
        self.begin()

    @property
    def log(self) -> Path:
        return self.path / "headers.log"

    def begin(self) -> Recovered:
        self.outbox = an_outbox(self.path, self.settings)
        found = self.outbox.open(self.host.key.public)
        self.sealer = self.host.sealer(
            EpochStart(reason=EpochReason.UNCLEAN_START) if found.head else None
        )
        self.outbox.begin(self.sealer.epoch, bytes(16), 1)
        return found

    def commit(self, *priorities: Priority, padding: int = 0) -> list[SealedBatch]:
        batches = [a_batch(self.sealer, priority=p, padding=padding) for p in priorities]
        self.outbox.commit(batches, {"c": str(batches[-1].seq).encode()}, batches[-1].seq)
        self.batches |= {(batch.epoch, batch.seq): batch for batch in batches}
        return batches

    def commit_stating(self, priority: Priority) -> SealedBatch:
        """Commit a batch whose header says what was dropped."""
        batch = a_batch(self.sealer, priority=priority)
        self.outbox.declared(len(self.outbox.undeclared()), batch)
        self.outbox.commit([batch], {"c": str(batch.seq).encode()}, batch.seq)
        self.batches[batch.epoch, batch.seq] = batch
        return batch

    def receipt(self, batch: SealedBatch) -> None:
        give(self.outbox, a_receipt(self.host, batch), COLLECTOR)

    def there(self) -> set[bytes]:
        return set(delivered(self.outbox, self.path))

    def named(self) -> set[tuple[bytes, int]]:
        return {
            (item.epoch, seq)
            for item in self.outbox.undeclared()
            for seq in range(item.first_seq, item.last_seq + 1)
        }

    def copy(self, to: Path) -> "Life":
        other = object.__new__(Life)
        other.__dict__ |= self.__dict__
        other.path = to
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.path, to)
        return other


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    path = tmp_path / "life"
    path.mkdir()
    life = Life(path)
    yield life
    life.outbox.close()


def unaccounted(life: Life) -> list[SealedBatch]:
    """Acknowledged batches that are neither there nor named as dropped."""
    there, named = life.there(), life.named()
    return [
        batch
        for key, batch in life.batches.items()
        if batch.header not in there and key not in named
    ]


def two_runs(life: Life) -> None:
    life.commit(LOW)
    life.commit(HIGH, LOW)
    life.outbox.stop({"c": b"3"})
    life.outbox.close()
    life.begin()
    life.commit(LOW)
    life.commit(LOW, HIGH)


def test_a_log_cut_anywhere_takes_the_outbox_back_to_a_commit_and_no_further(
    life: Life, tmp_path: Path
) -> None:
    two_runs(life)
    whole = life.log.read_bytes()
    first = next(decode_notes(whole))[1]
    epochs = set()

    for cut in range(first, len(whole), 31):
        other = life.copy(tmp_path / "other")
        other.log.write_bytes(whole[:cut])
        found = other.begin()
        kept = [batch for batch in life.batches.values() if batch.header in other.there()]
        # What is there is what the last whole note says, and the cursors belong to it.
        assert len(kept) == other.outbox.owed
        assert found.lost == 0
        assert not found.is_damaged
        if kept:
            assert found.head is not None
            assert found.head.hash == kept[-1].hash
            assert found.cursors["c"] in {str(kept[-1].seq).encode(), b"3"}
        other.commit(LOW)
        epochs.add(other.sealer.epoch)
        other.outbox.close()
    # No sequence number is signed twice: every run has an epoch of its own.
    assert len(epochs) == len(range(first, len(whole), 31))


def test_a_flipped_bit_in_the_log_loses_no_batch(life: Life, tmp_path: Path) -> None:
    two_runs(life)
    whole = life.log.read_bytes()
    head = life.outbox.head

    for at in range(0, len(whole), 23):
        other = life.copy(tmp_path / "other")
        raw = bytearray(whole)
        raw[at] ^= 1 << at % 8
        other.log.write_bytes(raw)
        found = other.begin()
        assert unaccounted(other) == []
        assert found.is_damaged
        assert not found.is_clean
        assert found.head == head
        # What was found again stays found.
        other.outbox.close()
        again = other.begin()
        assert unaccounted(other) == []
        assert not again.is_damaged
        assert again.head == head
        other.outbox.close()


def test_a_lost_log_is_made_anew_from_the_segments(life: Life) -> None:
    two_runs(life)
    head = life.outbox.head
    life.outbox.close()
    life.log.unlink()

    found = life.begin()

    assert found.salvaged == len(life.batches)
    assert found.head == head
    assert unaccounted(life) == []
    life.outbox.close()
    assert life.begin().salvaged == 0
    assert unaccounted(life) == []


def test_a_batch_of_the_very_first_commit_is_not_taken_back_without_its_note(life: Life) -> None:
    before = life.log.read_bytes()
    life.commit(LOW)
    life.outbox.close()
    # Its cursors are not known, so its source is read again.
    life.log.write_bytes(before)

    found = life.begin()

    assert found.head is None
    assert (found.salvaged, life.outbox.owed) == (0, 0)
    assert list((life.path / "segments").iterdir()) == []


def test_a_segment_cut_short_costs_what_lay_behind_the_cut(life: Life, tmp_path: Path) -> None:
    for _ in range(6):
        life.commit(LOW)
    (segment,) = (life.path / "segments").iterdir()
    raw = segment.read_bytes()
    filled = len(raw.rstrip(b"\0"))

    for cut in range(0, filled, 97):
        other = life.copy(tmp_path / "other")
        (other.path / "segments" / segment.name).write_bytes(raw[:cut])
        found = other.begin()
        kept = len(other.there())
        assert unaccounted(other) == []
        assert found.lost == 6 - kept
        assert kept == sum(end <= cut for end in ends_in(raw))
        if kept < 6:
            (dropped,) = other.outbox.undeclared()
            assert dropped.reason is DropReason.QUARANTINED
            assert dropped.batches == 6 - kept
            assert dropped.last_header_hash == list(life.batches.values())[-1].hash
        other.outbox.close()


def ends_in(raw: bytes) -> list[int]:
    ends, at = [], 0
    while raw[at : at + 4] == b"VSE1":
        at += FRAME_BYTES + int.from_bytes(raw[at + 4 : at + 8], "big")
        ends.append(at)
    return ends


def test_files_that_are_not_ours_are_left_alone_and_stop_nothing(life: Life) -> None:
    (batch,) = life.commit(LOW)
    segments = life.path / "segments"
    (segments / "0000000000000063.low.seg").mkdir()
    (segments / "0000000000000064.low.seg").symlink_to("/etc/hostname")
    (segments / "notes.txt").write_text("kept")
    life.outbox.close()

    found = life.begin()

    assert found.head is not None
    assert found.head.hash == batch.hash
    assert (segments / "notes.txt").read_text() == "kept"
    life.commit(LOW)
    assert unaccounted(life) == []


def test_nothing_unsigned_or_foreign_is_taken_back(life: Life) -> None:
    stranger = Host()
    segments = life.path / "segments"
    life.commit(LOW)
    life.outbox.close()
    life.log.unlink()
    segment = SegmentId(99, LOW)
    payloads = [b"junk", b"\xff" * 50, a_batch(stranger.sealer()).header]
    raw = b""
    for seq, payload in enumerate(payloads):
        raw += encode_entry(segment, len(raw), seq, payload)
    (segments / str(segment)).write_bytes(raw)

    found = life.begin()

    assert found.salvaged == 1
    assert not (segments / str(segment)).exists()


def test_a_segment_the_disk_cannot_give_back_stops_no_start(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.commit(LOW)
    life.outbox.close()
    life.log.write_bytes(life.log.read_bytes()[:-1] + b"x")
    real = os.pread

    def bad_sector(fd: int, size: int, offset: int) -> bytes:
        if ".seg" in Path(f"/proc/self/fd/{fd}").readlink().name:
            raise OSError(5, "Input/output error")
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", bad_sector)

    assert life.begin().is_damaged


def test_a_declared_range_stays_declared_and_another_is_not_taken_for_it(life: Life) -> None:
    """Damage to one note must not make a later `Declared` speak of another range."""
    for _ in range(30):
        life.commit(LOW, padding=60_000)
    for visible in life.outbox.visible()[:2]:
        (life.path / "segments" / str(visible.segment)).write_bytes(b"")
    life.outbox.close()
    life.begin()
    first = life.outbox.undeclared()
    life.outbox.declared(len(first), a_batch(life.sealer))
    # Until the header that states them is durable, they are still to be stated.
    life.outbox.close()
    life.begin()
    assert life.outbox.undeclared() == first
    life.commit_stating(LOW)
    life.outbox.close()

    found = life.begin()

    assert life.outbox.undeclared() == ()
    assert found.lost == 0


def test_what_was_found_damaged_and_declared_is_not_owed_after_a_restart(life: Life) -> None:
    life.commit(LOW)
    life.commit(LOW)
    (visible,) = life.outbox.visible()
    file = life.path / "segments" / str(visible.segment)
    raw = bytearray(file.read_bytes())
    raw[FRAME_BYTES + 10] ^= 1
    file.write_bytes(raw)
    assert life.outbox.examine(visible.segment) == 1
    life.commit_stating(HIGH)
    life.outbox.close()

    life.begin()

    assert life.outbox.owed == 2
    assert life.outbox.undeclared() == ()


def test_a_segment_number_is_never_used_again(life: Life) -> None:
    for _ in range(20):
        life.commit(LOW, padding=60_000)
    newest = max(v.segment.number for v in life.outbox.visible())
    life.outbox.close()
    life.begin()
    life.commit(HIGH, padding=60_000)
    for batch in life.batches.values():
        life.receipt(batch)
    life.outbox.close()
    shutil.rmtree(life.path / "segments")

    life.begin()
    life.commit(LOW)

    assert min(v.segment.number for v in life.outbox.visible()) > newest + 1


def test_compaction_keeps_what_is_owed_and_tells_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "life"
    path.mkdir()
    life = Life(path, TINY_LOG)
    for n in range(900):
        (batch,) = life.commit(LOW, padding=30_000 if n % 3 else 0)
        if n == 120:
            life.receipt(batch)
        if n % 50 == 48:
            life.commit_stating(LOW)
    log = life.log.read_bytes()
    owed, head, undeclared = life.outbox.owed, life.outbox.head, life.outbox.undeclared()
    there = life.there()
    life.outbox.close()

    found = life.begin()

    assert len(log) < 6 * TINY_LOG.header_log_bytes_max
    assert sum(isinstance(note, Committed) for *_, note in decode_notes(log)) < 900
    assert life.outbox.owed == owed
    assert found.head == head
    assert found.cursors == {"c": b"918"}
    assert life.outbox.undeclared() == undeclared
    assert life.there() == there
    assert (found.lost, found.salvaged, found.is_damaged) == (0, 0, False)
    life.outbox.close()


def test_compaction_without_room_for_a_new_log_goes_on_with_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "life"
    path.mkdir()
    life = Life(path, TINY_LOG)

    def refused(_log: HeaderLog, _notes: object) -> None:
        raise OutboxFailed("no room")

    monkeypatch.setattr(HeaderLog, "rewrite", refused)
    for _ in range(400):
        life.commit(LOW, padding=3_000)
    monkeypatch.undo()

    assert life.log.stat().st_size > 2 * TINY_LOG.header_log_bytes_max
    assert unaccounted(life) == []
    life.outbox.close()
    life.begin()
    assert unaccounted(life) == []
    life.outbox.close()


def test_receipted_headers_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    path = tmp_path / "life"
    path.mkdir()
    life = Life(path, TINY_LOG)
    for _ in range(900):
        (batch,) = life.commit(LOW)
        life.receipt(batch)
    headers = [
        batch.header
        for *_, note in decode_notes(life.log.read_bytes())
        if isinstance(note, Committed)
        for batch in note.batches
    ]
    life.outbox.stop({})
    life.outbox.close()

    found = life.begin()

    assert sum(map(len, headers)) < 3 * TINY_LOG.header_log_bytes_max
    assert headers.count(b"") > 100
    # The bodies are there all the same, and nothing of them is owed.
    assert unaccounted(life) == []
    assert (life.outbox.owed, found.lost) == (0, 0)
    life.outbox.close()


def test_recovery_of_a_long_log_holds_little_of_it_in_memory(life: Life) -> None:
    for _ in range(3):
        life.commit(LOW)
    note = list(decode_notes(life.log.read_bytes()))[-1][2]
    assert isinstance(note, Committed)
    big = replace(note, cursors={"c": bytes(1_000_000)})
    life.outbox.close()
    with life.log.open("ab") as file:
        for _ in range(30):
            file.write(encode_note(big))

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    life.begin()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak - before < 8_000_000


def test_on_a_full_disk_what_was_salvaged_is_noted_as_soon_as_there_is_room(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_runs(life)
    life.outbox.close()
    raw = bytearray(life.log.read_bytes())
    commit = next(
        begin for begin, _, note in decode_notes(bytes(raw)) if isinstance(note, Committed)
    )
    raw[commit + 20] ^= 1
    life.log.write_bytes(raw)

    def refused(_log: HeaderLog, _notes: object) -> None:
        raise OutboxFailed("no room")

    monkeypatch.setattr(HeaderLog, "rewrite", refused)
    assert life.begin().salvaged
    monkeypatch.undo()
    life.commit(LOW)
    life.outbox.close()

    # The damage is still in the file, the batches are not looked for again.
    found = life.begin()
    assert (found.is_damaged, found.salvaged) == (True, 0)
    assert unaccounted(life) == []
    life.outbox.close()
    assert not life.begin().is_damaged


def test_is_whole_tells_an_entry_that_reads_back_from_one_that_does_not(life: Life) -> None:
    life.commit(LOW)
    (visible,) = life.outbox.visible()
    store = SegmentStore(life.path / "segments", None)

    assert recovery.is_whole(store, visible.segment, 0)
    assert not recovery.is_whole(store, visible.segment, 1)
    assert not recovery.is_whole(store, SegmentId(4711, LOW), 0)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="vedette-disk-"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)],
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        place.rmdir()
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


@pytest.mark.root
def test_a_full_disk_is_filled_refused_freed_and_gone_on_with(small_disk: Path) -> None:
    life = Life(small_disk, OutboxSettings(segment_bytes=1024 * 1024))
    foreign = small_disk / "somebody-elses"
    foreign.write_bytes(bytes(1024 * 1024))

    # The disk is smaller than the outbox may be: the oldest low batches make room for new ones.
    for _ in range(150):
        life.commit(LOW, padding=50_000)
    assert unaccounted(life) == []
    assert life.named()

    # Somebody takes the rest. What cannot be stored is refused whole, and kept by the caller.
    with foreign.open("ab") as file:
        fill(file.fileno())
    refused = a_batch(life.sealer, priority=HIGH, padding=60_000)
    while True:
        try:
            life.outbox.commit([refused], {"c": b"high"}, 1)
        except OutboxError:
            break
        with foreign.open("ab") as file:
            fill(file.fileno())
        life.batches[refused.epoch, refused.seq] = refused
        refused = a_batch(life.sealer, priority=HIGH, padding=60_000)
    assert unaccounted(life) == []

    # A start on the full disk succeeds and knows the same.
    life.outbox.close()
    life.begin()
    assert unaccounted(life) == []

    # The disk is free again: the same call works, without anything done by hand.
    foreign.unlink()
    life.outbox.commit([refused], {"c": b"high"}, 1)
    life.batches[refused.epoch, refused.seq] = refused
    life.outbox.close()
    assert life.begin().cursors == {"c": b"high"}
    assert refused.header in life.there()
    assert unaccounted(life) == []
    life.outbox.close()


def fill(fd: int) -> None:
    for size in (65536, 4096, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError:
            continue


@pytest.mark.root
def test_a_disk_that_holds_little_more_than_a_segment_is_no_trap(small_disk: Path) -> None:
    """Room for a segment but none for the note beside it must not be tried again for ever."""
    life = Life(small_disk, OutboxSettings(segment_bytes=1024 * 1024))
    (small_disk / "somebody-elses").write_bytes(bytes(1024 * 1024))
    for _ in range(60):
        life.commit(LOW, padding=50_000)
    with (small_disk / "somebody-elses").open("ab") as file:
        fill(file.fileno())

    stored = 0
    for _ in range(40):
        batch = a_batch(life.sealer, padding=50_000)
        for _ in range(4):
            try:
                life.outbox.commit([batch], {}, 1)
            except OutboxError:
                continue
            stored += 1
            break

    assert stored == 40
    life.outbox.close()
