import random

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.auditserials import HOLES_MAX, LATE_NS_MAX, Serials

LAST = (1 << 32) - 1


@given(
    st.integers(0, LAST),
    st.lists(st.booleans(), min_size=1, max_size=100),
    st.randoms(use_true_random=False),
)
def test_numbers_that_never_come_are_counted_and_late_ones_are_not(
    first: int, comes: list[bool], order: random.Random
) -> None:
    numbers = [(first + 1 + at) % (LAST + 1) for at, does in enumerate(comes) if does]
    missing = len(comes) - len(numbers)
    end = (first + 1 + len(comes)) % (LAST + 1)
    order.shuffle(numbers)
    serials = Serials()

    for number in (first, end, *numbers):
        serials.take(number, 0)

    assert serials.lost(LATE_NS_MAX - 1) == 0
    assert serials.lost(LATE_NS_MAX) == missing
    assert serials.lost(10 * LATE_NS_MAX) == 0


def test_the_numbers_begin_again_after_the_last() -> None:
    serials = Serials()

    for number in (LAST - 1, 2):
        serials.take(number, 0)

    assert serials.lost(LATE_NS_MAX) == 3


def test_too_many_holes_are_given_up_at_once() -> None:
    serials = Serials()

    for number in range(0, 2 * HOLES_MAX + 4, 2):
        serials.take(number, 0)

    assert serials.lost(0) == 1


def test_what_the_kernel_says_it_lost_is_no_second_loss() -> None:
    serials = Serials()
    serials.take(1, 0)
    serials.take(9, 0)

    serials.forget()
    serials.take(50, 0)

    assert serials.lost(LATE_NS_MAX) == 0


def test_an_old_number_without_a_hole_is_nothing() -> None:
    serials = Serials()

    for number in (10, 3, 10):
        serials.take(number, 0)

    assert serials.lost(LATE_NS_MAX) == 0
