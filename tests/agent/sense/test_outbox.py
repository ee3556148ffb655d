import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.errors import DoorError, OutboxFailed, OutboxFull
from agent.segments import read_frame, read_payload
from agent.sense.outbox import Outbox, OutboxSettings, Visible
from agent.sense.seal import SealedBatch
from certs.signatures import SigningKey
from proto.model import DroppedRange, DropReason, Priority
from proto.vedette.v1.envelope_pb2 import Envelope
from tests.agent.sense.builders import SMALL, Host, a_batch, a_receipt, an_outbox, give
from tests.fakes.smalldisk import mounted

HIGH = Priority.HIGH
COLLECTOR = SigningKey.generate()


def opened(path: Path, host: Host, limits: OutboxSettings = SMALL) -> Outbox:
    outbox = an_outbox(path, limits)
    outbox.open(host.key.public)
    return outbox


def delivered(outbox: Outbox, path: Path) -> list[bytes]:
    """What a reader of the visible parts sees: the headers, in the order of the files."""
    found = []
    for visible in outbox.visible():
        found += headers_in(path / "segments" / str(visible.segment), visible)
    return found


def headers_in(file: Path, visible: Visible) -> list[bytes]:
    data = file.read_bytes()
    found, at = [], 0
    while at < visible.durable:
        entry = read_frame(visible.segment, at, lambda o, n: data[o : o + n])
        assert entry is not None
        payload = read_payload(entry, lambda o, n: data[o : o + n])
        found.append(Envelope.FromString(payload).header)
        at = entry.end
    return found


def test_what_was_committed_is_there_after_a_crash_with_its_cursors(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    batches = [a_batch(sealer, priority=p) for p in (Priority.HIGH, Priority.LOW, Priority.LOW)]
    outbox.commit(batches, {"authlog": b"at 7"}, 5)

    again = an_outbox(tmp_path)
    found = again.open(host.key.public)

    assert sorted(delivered(again, tmp_path)) == sorted(b.header for b in batches)
    assert found.cursors == {"authlog": b"at 7"}
    assert found.head is not None
    assert found.head.seq == 3
    assert not found.is_clean
    assert again.owed == 3


def test_a_clean_stop_is_told_from_a_crash(tmp_path: Path) -> None:
    host = Host()
    outbox = opened(tmp_path, host)
    outbox.commit([a_batch(host.sealer())], {}, 1)
    outbox.stop({"files": b"9"})

    found = an_outbox(tmp_path).open(host.key.public)

    assert found.is_clean
    assert found.cursors == {"files": b"9"}


def test_a_batch_that_never_reached_the_header_log_does_not_exist(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    outbox.commit([a_batch(sealer)], {"a": b"1"}, 1)
    size = (tmp_path / "headers.log").stat().st_size
    outbox.commit([a_batch(sealer), a_batch(sealer, priority=Priority.HIGH)], {"a": b"2"}, 2)
    os.truncate(tmp_path / "headers.log", size + 20)

    again = an_outbox(tmp_path)
    found = again.open(host.key.public)

    assert found.cursors == {"a": b"1"}
    assert len(delivered(again, tmp_path)) == 1
    assert again.owed == 1


def test_only_a_receipt_of_our_own_header_settles_anything(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    batches = [a_batch(sealer) for _ in range(3)]
    outbox.commit(batches, {}, 1)

    with pytest.raises(DoorError):
        give(outbox, a_receipt(host, batches[2], header_hash=b"x" * 32), COLLECTOR)
    with pytest.raises(DoorError):
        give(outbox, a_receipt(host, batches[2], seq=4), COLLECTOR)
    stranger = a_receipt(host, batches[2], epoch=b"e" * 16)

    assert give(outbox, stranger, COLLECTOR) == 0
    assert outbox.owed == 3
    assert give(outbox, a_receipt(host, batches[0], ahead=(batches[2],)), COLLECTOR) == 2
    assert outbox.owed == 1
    assert give(outbox, a_receipt(host, batches[2]), COLLECTOR) == 1
    assert outbox.owed == 0


def test_receipted_segments_give_their_space_back(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    last = None
    for _ in range(60):
        last = a_batch(sealer, padding=60_000)
        outbox.commit([last], {}, 1)
        give(outbox, a_receipt(host, last), COLLECTOR)

    files = list((tmp_path / "segments").iterdir())

    kept = sum(file.stat().st_size for file in files)
    assert kept <= SMALL.size_bytes_max // 4 + 2 * SMALL.segment_bytes
    assert outbox.undeclared() == ()


def test_eviction_takes_low_before_high_and_names_what_went(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    high = [a_batch(sealer, priority=Priority.HIGH, padding=60_000) for _ in range(4)]
    outbox.commit(high, {}, 1)
    low: list[SealedBatch] = []
    for _ in range(90):
        low.append(a_batch(sealer, padding=60_000))
        outbox.commit([low[-1]], {}, 1)

    headers = set(delivered(outbox, tmp_path))
    dropped = outbox.undeclared()

    assert outbox.size_bytes <= SMALL.size_bytes_max
    assert {batch.header for batch in high} <= headers
    gone = [batch for batch in low if batch.header not in headers]
    assert gone
    assert sum(item.batches for item in dropped) == len(gone)
    assert all(item.reason is DropReason.EVICTED for item in dropped)
    assert dropped[-1].last_header_hash == gone[-1].hash
    named = {s for item in dropped for s in range(item.first_seq, item.last_seq + 1)}
    assert named == {batch.seq for batch in gone}


def test_dropped_ranges_survive_a_crash_until_a_header_states_them(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    for _ in range(90):
        outbox.commit([a_batch(sealer, padding=60_000)], {}, 1)
    before = outbox.undeclared()

    again = opened(tmp_path, host)
    count = len(again.undeclared())
    stating = a_batch(host.sealer())
    again.declared(count, stating)
    again.commit([stating], {}, 1)

    assert before
    assert count == len(before)
    assert not set(opened(tmp_path, host).undeclared()) & set(before)


def test_a_full_disk_refuses_and_the_same_batch_goes_in_later(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    tight = OutboxSettings(size_bytes_max=1024 * 1024, segment_bytes=256 * 1024)
    outbox = opened(tmp_path, host, tight)
    batches = [a_batch(sealer, priority=Priority.HIGH, padding=60_000) for _ in range(12)]
    kept: list[SealedBatch] = []
    refused: list[SealedBatch] = []
    for batch in batches:
        outbox.commit([batch], {}, 1)
        kept.append(batch)
    low = a_batch(sealer)

    with pytest.raises(OutboxFull):
        outbox.commit([low], {}, 1)
    refused.append(low)
    give(outbox, a_receipt(host, kept[-1]), COLLECTOR)
    outbox.commit(refused, {}, 1)

    assert low.header in delivered(outbox, tmp_path)


def test_a_damaged_header_log_is_set_aside_and_its_batches_found_again(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    batches = [a_batch(sealer, priority=p) for p in (Priority.HIGH, Priority.LOW) * 5]
    for batch in batches:
        outbox.commit([batch], {}, 1)
    raw = bytearray((tmp_path / "headers.log").read_bytes())
    raw[len(raw) // 2] ^= 0x40
    (tmp_path / "headers.log").write_bytes(raw)

    again = an_outbox(tmp_path)
    found = again.open(host.key.public)

    assert found.is_damaged
    assert found.salvaged > 0
    assert again.owed == 10
    assert sorted(delivered(again, tmp_path)) == sorted(b.header for b in batches)
    assert (tmp_path / "headers.damaged").exists()


def test_a_lost_segment_is_named_as_dropped(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    batches = [a_batch(sealer) for _ in range(3)]
    outbox.commit(batches, {}, 1)
    next((tmp_path / "segments").iterdir()).unlink()

    again = an_outbox(tmp_path)
    found = again.open(host.key.public)

    assert found.lost == 3
    assert again.undeclared()[0].reason is DropReason.QUARANTINED
    assert again.undeclared()[0].last_header_hash == batches[-1].hash


def test_bytes_of_another_signer_are_never_taken_back(tmp_path: Path) -> None:
    host, stranger = Host(), Host()
    outbox = opened(tmp_path, stranger)
    outbox.commit([a_batch(stranger.sealer())], {}, 1)
    (tmp_path / "headers.log").unlink()

    found = an_outbox(tmp_path).open(host.key.public)

    assert found.salvaged == 0
    assert found.head is None


def test_a_reader_that_cries_damage_is_checked(tmp_path: Path) -> None:
    host = Host()
    outbox = opened(tmp_path, host)
    batch = a_batch(host.sealer())
    outbox.commit([batch], {}, 1)
    (visible,) = outbox.visible()

    assert outbox.examine(visible.segment) == 0
    file = tmp_path / "segments" / str(visible.segment)
    raw = bytearray(file.read_bytes())
    raw[60] ^= 1
    file.write_bytes(raw)

    assert outbox.examine(visible.segment) == 1
    assert outbox.undeclared()[0].reason is DropReason.QUARANTINED
    assert outbox.owed == 0


class CrashingOutbox(RuleBasedStateMachine):
    """Commits, receipts, crashes and cuts in any order: what was acknowledged stays or is named."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.host = Host()
        self.sealer = self.host.sealer()
        self.outbox = opened(self.path, self.host)
        self.owed: dict[int, SealedBatch] = {}
        self.cursor = b""

    @rule(
        priorities=st.lists(st.sampled_from([Priority.LOW, Priority.HIGH]), min_size=1, max_size=3),
        padding=st.sampled_from([0, 3_000, 40_000]),
    )
    def commit(self, priorities: list[Priority], padding: int) -> None:
        batches = [a_batch(self.sealer, priority=p, padding=padding) for p in priorities]
        self.cursor = str(batches[-1].seq).encode()
        self.outbox.commit(batches, {"c": self.cursor}, 1)
        self.owed |= {batch.seq: batch for batch in batches}

    @rule(share=st.floats(0, 1))
    def receipt(self, share: float) -> None:
        if not self.owed:
            return
        upto = sorted(self.owed)[int(share * (len(self.owed) - 1))]
        give(self.outbox, a_receipt(self.host, self.owed[upto]), COLLECTOR)
        self.owed = {seq: batch for seq, batch in self.owed.items() if seq > upto}

    @rule()
    def crash(self) -> None:
        self.outbox = an_outbox(self.path)
        found = self.outbox.open(self.host.key.public)
        assert found.cursors.get("c", b"") == self.cursor

    @rule(tail=st.binary(min_size=1, max_size=30))
    def torn_write(self, tail: bytes) -> None:
        with (self.path / "headers.log").open("ab") as file:
            file.write(tail)
        self.crash()

    @invariant()
    def everything_owed_is_there_or_named(self) -> None:
        there = set(delivered(self.outbox, self.path))
        named = {
            seq
            for item in self.outbox.undeclared()
            for seq in range(item.first_seq, item.last_seq + 1)
        }
        for seq, batch in self.owed.items():
            assert batch.header in there or seq in named

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


CrashingOutbox.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestCrashingOutbox = CrashingOutbox.TestCase


def test_a_failed_sync_fails_the_commit_and_the_batch_goes_to_a_new_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    outbox.commit([a_batch(sealer)], {}, 1)
    batch = a_batch(sealer)
    real = os.fdatasync

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OutboxFailed):
        outbox.commit([batch], {}, 2)
    assert batch.header not in delivered(outbox, tmp_path)
    monkeypatch.setattr(os, "fdatasync", real)
    outbox.commit([batch], {}, 2)

    assert delivered(outbox, tmp_path).count(batch.header) == 1
    assert len(outbox.visible()) == 2
    assert opened(tmp_path, host).owed == 2


def test_one_commit_may_fill_several_segments(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    outbox = opened(tmp_path, host)
    priorities = (Priority.HIGH, Priority.LOW) * 15
    batches = [a_batch(sealer, priority=p, padding=60_000) for p in priorities]

    outbox.commit(batches[:3], {}, 1)
    outbox.commit(batches[3:], {}, 1)

    assert len(outbox.visible()) > 3
    assert sorted(delivered(outbox, tmp_path)) == sorted(b.header for b in batches)
    outbox.close()
    again = opened(tmp_path, host)
    assert sorted(delivered(again, tmp_path)) == sorted(b.header for b in batches)


def named(outbox: Outbox) -> set[int]:
    return {n for d in outbox.undeclared() for n in range(d.first_seq, d.last_seq + 1)}


@pytest.mark.parametrize("priority", [Priority.LOW, Priority.HIGH])
def test_of_a_commit_larger_than_the_outbox_what_fits_is_kept_and_the_rest_is_named(
    tmp_path: Path, priority: Priority
) -> None:
    host = Host()
    sealer = host.sealer()
    tight = OutboxSettings(size_bytes_max=1024 * 1024, segment_bytes=256 * 1024)
    outbox = opened(tmp_path, host, tight)
    batches = [a_batch(sealer, priority=priority, padding=60_000) for _ in range(40)]

    outbox.commit(batches, {"a": b"cursor"}, 1)

    kept = delivered(outbox, tmp_path)
    assert kept == [batch.header for batch in batches[: len(kept)]]
    assert len(kept) >= 8
    assert named(outbox) == {batch.seq for batch in batches[len(kept) :]}
    assert {item.reason for item in outbox.undeclared()} == {DropReason.EVICTED}
    outbox.close()
    again = opened(tmp_path, host, tight)
    assert delivered(again, tmp_path) == kept
    assert named(again) == {batch.seq for batch in batches[len(kept) :]}


def test_a_commit_larger_than_the_outbox_costs_older_batches_of_its_kind_first(
    tmp_path: Path,
) -> None:
    host = Host()
    sealer = host.sealer()
    tight = OutboxSettings(size_bytes_max=1024 * 1024, segment_bytes=256 * 1024)
    outbox = opened(tmp_path, host, tight)
    old = a_batch(sealer, padding=60_000)
    outbox.commit([old], {}, 1)
    batches = [a_batch(sealer, padding=60_000) for _ in range(40)]

    for _ in range(3):
        try:
            outbox.commit(batches, {}, 1)
        except OutboxFull:
            continue
        break

    kept = delivered(outbox, tmp_path)
    assert len(kept) >= 8
    gone = {batch.seq for batch in [old, *batches] if batch.header not in kept}
    assert named(outbox) == gone


def test_a_commit_waits_for_receipts_of_what_is_more_urgent(tmp_path: Path) -> None:
    host = Host()
    sealer = host.sealer()
    tight = OutboxSettings(size_bytes_max=1024 * 1024, segment_bytes=256 * 1024)
    outbox = opened(tmp_path, host, tight)
    for _ in range(9):
        outbox.commit([a_batch(sealer, priority=Priority.HIGH, padding=60_000)], {}, 1)
    before = delivered(outbox, tmp_path)

    with pytest.raises(OutboxFull):
        outbox.commit([a_batch(sealer, padding=60_000) for _ in range(40)], {}, 1)

    assert delivered(outbox, tmp_path) == before
    assert outbox.undeclared() == ()


def test_space_that_others_took_is_waited_for(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 8) as disk:
        host = Host()
        sealer = host.sealer()
        outbox = opened(disk.path, host)
        disk.fill(free_kib=900)
        urgent, late = [
            a_batch(sealer, priority=p, records=12, padding=60_000) for p in (HIGH, HIGH)
        ]

        with pytest.raises(OutboxFull):
            outbox.commit([urgent, late], {}, 1)
        assert outbox.undeclared() == ()
        disk.release()
        outbox.commit([urgent, late], {}, 1)

        assert len(delivered(outbox, disk.path)) == 2
        outbox.close()


def test_of_a_commit_larger_than_the_disk_what_fits_is_kept_and_the_rest_is_named(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "disk", 4) as disk:
        host = Host()
        sealer = host.sealer()
        outbox = opened(disk.path, host, OutboxSettings())
        batches = [a_batch(sealer, records=12, padding=60_000) for _ in range(16)]

        outbox.commit(batches, {}, 1)

        kept = delivered(outbox, disk.path)
        assert 2 <= len(kept) < 10
        assert len(named(outbox)) == 16 - len(kept)
        outbox.close()
        assert delivered(opened(disk.path, host), disk.path) == kept


class EvictingOutbox(RuleBasedStateMachine):
    """More than fits, over restarts: each batch has arrived, is there, or is named by what is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.host = Host()
        self.sealed: dict[tuple[bytes, int], SealedBatch] = {}
        self.states: dict[tuple[bytes, int], set[tuple[bytes, int]]] = {}
        self.arrived: set[tuple[bytes, int]] = set()
        self.start()

    def start(self) -> None:
        self.outbox = opened(
            self.path,
            self.host,
            OutboxSettings(
                size_bytes_max=2 * 1024 * 1024,
                segment_bytes=256 * 1024,
                header_log_bytes_max=64 * 1024,
            ),
        )
        self.sealer = self.host.sealer()
        self.outbox.begin(self.sealer.epoch, bytes(16), 1)

    @rule(
        priorities=st.lists(st.sampled_from(list(Priority)[1:]), min_size=1, max_size=8),
        padding=st.sampled_from([0, 60_000]),
    )
    def commit(self, priorities: list[Priority], padding: int) -> None:
        batches = [a_batch(self.sealer, priority=p, padding=padding) for p in priorities]
        dropped = self.outbox.undeclared()
        self.outbox.declared(len(dropped), batches[0])
        try:
            self.outbox.commit(batches, {}, 1)
        except OutboxFull:
            # The same batches go in as soon as the collector has taken what there is.
            self.receipt(1)
            self.outbox.commit(batches, {}, 1)
        self.states[batches[0].epoch, batches[0].seq] = named_by(dropped)
        self.sealed |= {(batch.epoch, batch.seq): batch for batch in batches}

    @rule(share=st.floats(0, 1))
    def receipt(self, share: float) -> None:
        there = self.there()
        # One that was receipted just before a crash is sent and receipted again.
        waiting = [batch for batch in self.sealed.values() if batch.header in there]
        for batch in waiting[: 1 + int(share * len(waiting))]:
            give(self.outbox, a_receipt(self.host, batch, seq=0, ahead=(batch,)), COLLECTOR)
            self.arrived.add((batch.epoch, batch.seq))

    @rule()
    def crash(self) -> None:
        self.outbox.close()
        self.start()

    def there(self) -> set[bytes]:
        return set(delivered(self.outbox, self.path))

    @invariant()
    def everything_is_accounted_for(self) -> None:
        there = self.there()
        known = {key for key, batch in self.sealed.items() if batch.header in there} | self.arrived
        named = named_by(self.outbox.undeclared())
        for key in known & self.states.keys():
            named |= self.states[key]
        assert self.sealed.keys() <= known | named

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


def named_by(ranges: Iterable[DroppedRange]) -> set[tuple[bytes, int]]:
    return {(item.epoch, n) for item in ranges for n in range(item.first_seq, item.last_seq + 1)}


EvictingOutbox.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestEvictingOutbox = EvictingOutbox.TestCase
