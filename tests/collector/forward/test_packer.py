"""Parcels are closed by count, bytes or time, and no event is left over."""

from hypothesis import given
from hypothesis import strategies as st

from collector.forward.packer import NS_PER_S, Packer
from collector.forward.settings import BatchLimits
from collector.forward.window import Parcel
from tests.collector.forward.test_window import an_item

SIZES = st.lists(st.integers(1, 9000), max_size=40)


@given(SIZES, st.integers(1, 7))
def test_parcels_keep_order_and_limits(sizes: list[int], events_max: int) -> None:
    packer = Packer(BatchLimits(events_max=events_max, size_bytes_max=8192))
    parcels: list[Parcel | None] = []

    for number, size in enumerate(sizes):
        parcels.append(packer.add(an_item(number, size), 0))
    parcels.append(packer.flush())

    closed = [parcel for parcel in parcels if parcel is not None]
    assert [item.uid for parcel in closed for item in parcel.items] == [
        str(number) for number in range(len(sizes))
    ]
    assert all(len(parcel.items) <= events_max for parcel in closed)
    assert all(parcel.size_bytes <= 8192 or len(parcel.items) == 1 for parcel in closed)
    assert packer.size_bytes == 0
    assert not packer


def test_the_first_event_waits_only_as_long_as_allowed() -> None:
    packer = Packer(BatchLimits(wait_s_max=0.5))
    packer.add(an_item(1), 10 * NS_PER_S)
    packer.add(an_item(2), 10 * NS_PER_S + NS_PER_S // 4)

    assert packer.due_s(10 * NS_PER_S + NS_PER_S // 4) == 0.25
    assert packer.due_s(11 * NS_PER_S) == 0
    assert packer.oldest_received() == 1


def test_an_empty_packer_is_never_due() -> None:
    packer = Packer(BatchLimits())

    assert packer.due_s(0) is None
    assert packer.flush() is None
    assert packer.oldest_received() is None
