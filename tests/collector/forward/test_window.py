"""The cursor passes a parcel only when everything before it is settled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.forward.event import EventKind, Place
from collector.forward.states import State
from collector.forward.window import Item, Parcel, Window


def an_item(number: int, size_bytes: int = 1, letter: int | None = None) -> Item:
    return Item(
        uid=str(number),
        kind=EventKind.FINDING,
        position=number,
        index=0,
        through=Place(number),
        received=number,
        encoded=b"x" * size_bytes,
        letter=letter,
    )


def a_parcel(*numbers: int) -> Parcel:
    return Parcel([an_item(number) for number in numbers])


def uids(parcels: list[Parcel]) -> list[str]:
    return [item.uid for parcel in parcels for item in parcel.items]


def test_settled_parcels_leave_in_order_and_wait_for_those_before_them() -> None:
    window = Window()
    first, second, third = a_parcel(1), a_parcel(2), a_parcel(3)
    for parcel in (first, second, third):
        window.add(parcel)

    second.moved(State.ACCEPTED)
    early = window.take_settled()
    first.moved(State.CONFIRMED)

    assert early == []
    assert uids(window.take_settled()) == ["1", "2"]
    assert window.oldest_received() == 3
    assert window.size_bytes == 1


@pytest.mark.parametrize("state", [State.QUEUED, State.SENT])
def test_what_is_only_sent_is_not_settled(state: State) -> None:
    parcel = a_parcel(1)

    parcel.moved(state)

    assert not parcel.is_settled


def test_an_accepted_parcel_whose_fate_is_asked_for_is_not_settled() -> None:
    parcel = a_parcel(1)

    parcel.moved(State.ACCEPTED, token=5)

    assert not parcel.is_settled


def test_only_queued_parcels_are_sent() -> None:
    window = Window()
    parcels = [a_parcel(number) for number in range(5)]
    for parcel in parcels:
        window.add(parcel)
    parcels[0].moved(State.SENT, 1)
    parcels[2].moved(State.ACCEPTED)

    assert uids(window.unsent(2)) == ["1", "3"]
    assert list(window.open()) == [1]


def test_what_can_no_longer_be_asked_for_is_queued_again() -> None:
    window = Window()
    parcel = a_parcel(1)
    window.add(parcel)
    parcel.moved(State.SENT, 1)

    assert window.requeue_open() == 1
    assert uids(window.unsent(9)) == ["1"]
    assert window.open() == {}


@given(st.integers(2, 60), st.none() | st.integers(-5, 70))
def test_splitting_keeps_every_event_in_order(count: int, index: int | None) -> None:
    parcel = a_parcel(*range(count))

    parts = parcel.split(index)

    assert uids(parts) == uids([parcel])
    assert 2 <= len(parts) <= 3
    if index is not None and 0 <= index < count:
        assert a_parcel(index).items in [part.items for part in parts]


def test_smaller_parcels_take_the_place_of_the_large_one() -> None:
    window = Window()
    large = a_parcel(2, 3, 4)
    for parcel in (a_parcel(1), large, a_parcel(5)):
        window.add(parcel)

    window.replace(large, large.split(1))

    assert uids(window.unsent(9)) == ["1", "2", "3", "4", "5"]
    assert window.size_bytes == 5


def test_only_events_set_aside_for_the_first_time_count_as_new_letters() -> None:
    window = Window()
    window.add(Parcel([an_item(1)], reason="bad"))
    window.add(Parcel([an_item(2, letter=7)], reason="bad"))
    window.add(a_parcel(3))

    assert window.dead() == 1
    assert uids(window.take_settled()) == ["1", "2"]


def test_an_empty_window_has_nothing_to_say() -> None:
    window = Window()

    assert not window
    assert window.oldest_received() is None
    assert window.take_settled() == []
