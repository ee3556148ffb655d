import pytest

from agent.errors import DoorError
from agent.segments import SegmentId
from agent.sense.chains import Chains, Drops, Link
from proto.model import DroppedRange, DropReason, Priority

EPOCH = b"e" * 16
ONE = SegmentId(1, Priority.LOW)
TWO = SegmentId(2, Priority.HIGH)


def digest(seq: int) -> bytes:
    return bytes([seq]) * 32


def chains_of(*segments: SegmentId) -> Chains:
    chains = Chains()
    for seq, segment in enumerate(segments, 1):
        chains.add(Link(EPOCH, seq, digest(seq)), segment, records=10)
    return chains


def test_a_cumulative_receipt_settles_everything_before_it() -> None:
    chains = chains_of(ONE, TWO, ONE, ONE)

    assert chains.settle(EPOCH, 3, digest(3), {}) == 3
    assert chains.settle(EPOCH, 3, digest(3), {}) == 0
    assert (chains.owed_in(ONE), chains.owed_in(TWO)) == (1, 0)


def test_batches_ahead_of_a_hole_settle_alone() -> None:
    chains = chains_of(ONE, TWO, ONE)

    assert chains.settle(EPOCH, 0, b"", {2: digest(2)}) == 1
    assert chains.owed == 2


def test_a_wrong_hash_settles_nothing() -> None:
    chains = chains_of(ONE, ONE)

    with pytest.raises(DoorError):
        chains.settle(EPOCH, 2, digest(9), {})
    with pytest.raises(DoorError):
        chains.settle(EPOCH, 1, digest(1), {2: digest(9)})
    with pytest.raises(DoorError):
        chains.settle(EPOCH, 3, digest(3), {})

    assert chains.owed == 2


def test_dropping_a_segment_names_contiguous_ranges_with_their_last_hash() -> None:
    chains = chains_of(ONE, ONE, TWO, ONE)

    ranges = chains.drop(ONE, DropReason.EVICTED)

    assert [(r.first_seq, r.last_seq, r.batches, r.records) for r in ranges] == [
        (1, 2, 2, 20),
        (4, 4, 1, 10),
    ]
    assert [r.last_header_hash for r in ranges] == [digest(2), digest(4)]
    assert chains.owed == 1
    assert chains.drop(ONE, DropReason.EVICTED) == []


def test_what_was_receipted_is_not_dropped() -> None:
    chains = chains_of(ONE, ONE)
    chains.settle(EPOCH, 1, digest(1), {})

    (dropped,) = chains.drop(ONE, DropReason.EVICTED)

    assert dropped.first_seq == 2


def test_batches_found_again_out_of_order_take_their_places() -> None:
    chains = Chains()
    for seq, segment in ((3, TWO), (1, ONE), (2, ONE)):
        chains.add(Link(EPOCH, seq, digest(seq)), segment, 1)

    assert chains.head == Link(EPOCH, 3, digest(3))
    assert chains.settle(EPOCH, 2, digest(2), {}) == 2
    assert chains.owed_in(TWO) == 1


def test_a_single_damaged_batch_is_given_up_once() -> None:
    chains = chains_of(ONE, ONE)
    link = Link(EPOCH, 1, b"")

    assert len(chains.drop_one(link, DropReason.QUARANTINED)) == 1
    assert chains.drop_one(link, DropReason.QUARANTINED) == []
    assert chains.drop_one(Link(b"x" * 16, 1, b""), DropReason.QUARANTINED) == []


def test_settled_history_costs_no_memory() -> None:
    chains = Chains()
    for seq in range(1, 5_000):
        chains.add(Link(EPOCH, seq, digest(seq % 256)), ONE, 1)
        chains.settle(EPOCH, seq, digest(seq % 256), {})
    other = b"f" * 16
    chains.add(Link(other, 1, digest(1)), TWO, 1)

    assert chains.settle(EPOCH, 4_999, digest(4_999 % 256), {}) == 0
    assert chains.owed == 1


def a_range(first: int, last: int, reason: DropReason = DropReason.EVICTED) -> DroppedRange:
    return DroppedRange(
        reason=reason,
        epoch=EPOCH,
        first_seq=first,
        last_seq=last,
        last_header_hash=digest(last),
        batches=last - first + 1,
        records=10 * (last - first + 1),
    )


def test_ranges_beside_each_other_are_said_as_one() -> None:
    drops = Drops()

    drops.add([a_range(4, 6), a_range(9, 9)])
    drops.add([a_range(1, 3)])
    drops.add([a_range(7, 7, DropReason.QUARANTINED)])

    assert drops.joined() == [
        a_range(1, 6),
        a_range(7, 7, DropReason.QUARANTINED),
        a_range(9, 9),
    ]


def test_what_was_said_by_a_batch_that_is_dropped_is_said_again() -> None:
    drops = Drops()
    drops.add([a_range(1, 3)])
    drops.stated(EPOCH, 10, drops.take(1))
    assert drops.joined() == []
    assert drops.is_awaited(EPOCH, 10)

    drops.add([a_range(10, 12)])

    assert drops.joined() == [a_range(1, 3), a_range(10, 12)]
    assert not drops.is_awaited(EPOCH, 10)


def test_what_the_collector_has_heard_is_not_said_again() -> None:
    drops = Drops()
    drops.add([a_range(1, 3), a_range(5, 6)])
    drops.stated(EPOCH, 10, drops.take(1))
    drops.stated(EPOCH, 12, drops.take(1))

    drops.arrived(EPOCH, 10, {12})
    drops.add([a_range(10, 12)])

    assert drops.joined() == [a_range(10, 12)]


def test_what_was_dropped_beside_a_stated_range_is_still_to_be_stated() -> None:
    """A log is replayed in its own order: the statement comes behind what was dropped since."""
    drops = Drops()
    drops.add([a_range(1, 3)])
    drops.add([a_range(4, 6)])

    drops.stated(EPOCH, 10, (a_range(1, 3),))

    assert drops.joined() == [a_range(4, 6)]
