"""The laws of the first look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.errors import ContentDamaged
from proto.content.filters import SLOTS_EACH, Filter, FilterPool


def a_filter(texts: list[bytes]) -> Filter:
    pool = FilterPool()
    for text in texts:
        pool.add(text)
    data, slots = pool.pack(len(texts))
    return Filter(memoryview(data), slots)


@given(texts=st.lists(st.binary(), min_size=1))
def test_nothing_that_went_in_is_kept_out(texts: list[bytes]) -> None:
    found = a_filter(texts)

    assert all(found.may_hold(text) for text in texts)


def test_most_that_did_not_go_in_is_kept_out() -> None:
    found = a_filter([b"in %d" % n for n in range(10_000)])

    let_by = sum(found.may_hold(b"out %d" % n) for n in range(10_000))

    assert let_by < 10_000 * 1.3 / SLOTS_EACH


def test_a_file_without_a_filter_lets_everything_by() -> None:
    assert Filter(None, 0).may_hold(b"anything")


@pytest.mark.parametrize(("size", "slots"), [(0, 0), (1, 0), (1, 7), (1, 9), (2, 8), (0, 8)])
def test_a_number_that_does_not_fit_the_size_is_damage(size: int, slots: int) -> None:
    with pytest.raises(ContentDamaged):
        Filter(memoryview(bytes(size)), slots)
