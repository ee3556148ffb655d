import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.backoff import Backoff


def bounds_of(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


def test_the_bound_doubles_up_to_the_highest() -> None:
    backoff = Backoff(wait_s_first=0.5, wait_s_max=3, random=lambda: 1.0)

    assert bounds_of(backoff, 5) == [0.5, 1, 2, 3, 3]


def test_a_success_starts_again_from_the_first_bound() -> None:
    backoff = Backoff(wait_s_first=0.5, wait_s_max=3, random=lambda: 1.0)
    bounds_of(backoff, 4)

    backoff.reset()

    assert bounds_of(backoff, 2) == [0.5, 1]


@given(seed=st.integers(), count=st.integers(1, 80))
def test_every_wait_lies_below_its_bound_and_none_is_fixed(seed: int, count: int) -> None:
    backoff = Backoff(wait_s_first=1, wait_s_max=64, random=random.Random(seed).random)

    waits = bounds_of(backoff, count)

    assert all(0 <= wait < min(64, 2**n) for n, wait in enumerate(waits))
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize(("first", "highest"), [(0, 1), (-1, 1), (2, 1)])
def test_bounds_that_make_no_sense_are_refused(first: float, highest: float) -> None:
    with pytest.raises(ValueError, match="bounds"):
        Backoff(wait_s_first=first, wait_s_max=highest, random=random.Random(1).random)
