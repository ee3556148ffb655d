from pathlib import Path

from agent.doorframes import Damaged, VisibleSegment
from agent.sense.outbox import Outbox
from agent.sense.seal import SealedBatch
from agent.ship.reader import OutboxReader, Pending
from proto.model import EpochReason, EpochStart, Priority
from proto.vedette.v1.envelope_pb2 import Envelope
from tests.agent.sense.builders import Host, a_batch, an_outbox


class Both:
    """An outbox and a reader that is shown what the outbox shows."""

    def __init__(self, path: Path, ahead: int = 0) -> None:
        self.path = path
        self.host = Host()
        self.sealer = self.host.sealer()
        self.outbox: Outbox = an_outbox(path)
        self.outbox.open(self.host.key.public)
        self.reader = OutboxReader(path / "segments", ahead)

    def commit(self, *priorities: Priority, padding: int = 0) -> list[SealedBatch]:
        batches = [a_batch(self.sealer, priority=p, padding=padding) for p in priorities]
        self.outbox.commit(batches, {}, 1)
        return batches

    def show(self) -> None:
        self.reader.show(
            (VisibleSegment(str(v.segment), v.epoch, v.durable) for v in self.outbox.visible()),
            is_all=True,
        )

    def read(self) -> list[int]:
        self.show()
        found = []
        while (pending := self.reader.next()[0]) is not None:
            found.append(pending.seq)
        return found


LOW, HIGH = Priority.LOW, Priority.HIGH


def test_batches_come_in_the_order_of_their_chain_across_files(tmp_path: Path) -> None:
    both = Both(tmp_path)
    for group in ((LOW,), (HIGH, LOW), (LOW, LOW), (HIGH,)):
        both.commit(*group)

    assert both.read() == [1, 2, 3, 4, 5, 6]
    assert both.read() == []
    both.commit(LOW)
    assert both.read() == [7]
    both.reader.close()


def test_what_is_sent_is_what_was_stored(tmp_path: Path) -> None:
    both = Both(tmp_path)
    (batch,) = both.commit(HIGH)
    both.show()

    pending, _ = both.reader.next()

    assert pending is not None
    sent = Envelope.FromString(pending.payload)
    assert (sent.header, sent.signature, sent.body) == (batch.header, batch.signature, batch.body)
    assert isinstance(pending, Pending)
    both.reader.close()


def test_an_older_epoch_is_read_to_its_end_before_a_newer_one(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(LOW, LOW)
    first = both.sealer.epoch
    both.sealer = both.host.sealer(EpochStart(reason=EpochReason.CLEAN_START))
    both.commit(HIGH, LOW)
    both.show()

    order = []
    while (pending := both.reader.next()[0]) is not None:
        order.append((pending.epoch == first, pending.seq))

    assert order == [(True, 1), (True, 2), (False, 1), (False, 2)]
    both.reader.close()


def test_an_urgent_batch_goes_ahead_of_a_backlog_within_the_bound(tmp_path: Path) -> None:
    near, far = Both(tmp_path, ahead=10), tmp_path / "far"
    near.commit(LOW, LOW, LOW, HIGH, LOW)
    assert near.read() == [4, 1, 2, 3, 5]
    near.reader.close()
    far.mkdir()
    both = Both(far, ahead=2)
    both.commit(LOW, LOW, LOW, LOW, HIGH)

    assert both.read() == [1, 2, 5, 3, 4]
    both.reader.close()


def test_what_the_collector_has_is_left_out_until_rewound(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(LOW, LOW, LOW)
    both.reader.skip_below(both.sealer.epoch, 3)

    assert both.read() == [3]
    both.reader.rewind()
    assert both.read() == [1, 2, 3]
    both.reader.close()


def test_a_resume_in_one_epoch_forgets_nothing_of_another(tmp_path: Path) -> None:
    both = Both(tmp_path)
    old = both.sealer.epoch
    both.commit(LOW, LOW)
    both.sealer = both.host.sealer(EpochStart(reason=EpochReason.CLEAN_START))
    both.commit(LOW, LOW, LOW)
    both.reader.skip_below(old, 3)
    both.reader.skip_below(old, 2)
    assert both.read() == [1, 2, 3]

    both.reader.resume(both.sealer.epoch, 3)

    assert both.read() == [3]
    # A collector set back asks for what it lost.
    both.reader.resume(both.sealer.epoch, 2)
    assert both.read() == [2, 3]
    both.reader.close()


def test_damage_costs_the_damaged_batch_and_no_other(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(LOW, LOW, LOW, LOW)
    both.show()
    file = next((tmp_path / "segments").iterdir())
    raw = bytearray(file.read_bytes())
    first = int.from_bytes(raw[4:8], "big") + 24
    raw[first] ^= 1
    raw[2 * first + 100] ^= 1
    file.write_bytes(raw)

    found: list[int] = []
    damaged: list[Damaged] = []
    while True:
        pending, complaints = both.reader.next()
        damaged += complaints
        if pending is None:
            break
        found.append(pending.seq)

    assert found == [1, 4]
    assert set(damaged) == {Damaged(file.name)}
    both.reader.close()


def test_a_segment_that_is_gone_is_nothing_to_read(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(LOW)
    both.show()
    next((tmp_path / "segments").iterdir()).unlink()

    assert both.reader.next() == (None, ())
    both.reader.show((), is_all=True)
    assert both.reader.next() == (None, ())


def test_a_link_in_place_of_a_segment_is_not_followed(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(LOW)
    both.show()
    file = next((tmp_path / "segments").iterdir())
    moved = tmp_path / "moved"
    file.rename(moved)
    file.symlink_to(moved)

    assert both.reader.next() == (None, ())
