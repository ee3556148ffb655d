import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.issuer.errors import IssuerBusy
from collector.issuer.ratecap import RateCap
from runtime.clock import NS_PER_S


def taken(cap: RateCap, now_ns: int) -> bool:
    try:
        cap.take(now_ns)
    except IssuerBusy:
        return False
    return True


def test_after_the_cap_one_has_to_wait_and_is_told_how_long() -> None:
    cap = RateCap(10, 0)
    assert all(taken(cap, 0) for _ in range(10))

    with pytest.raises(IssuerBusy) as caught:
        cap.take(0)

    assert caught.value.retry_after_s == pytest.approx(0.1)
    assert taken(cap, NS_PER_S // 10)
    assert not taken(cap, NS_PER_S // 10)


def test_a_quiet_hour_saves_up_no_more_than_a_second() -> None:
    cap = RateCap(10, 0)

    passed = sum(taken(cap, 3600 * NS_PER_S) for _ in range(100))

    assert passed == 10


@given(st.lists(st.integers(0, NS_PER_S // 4), max_size=200))
def test_no_second_ever_sees_more_than_twice_the_cap(steps: list[int]) -> None:
    cap, now_ns, times = RateCap(5, 0), 0, []

    for step in steps:
        now_ns += step
        if taken(cap, now_ns):
            times.append(now_ns)

    for start in times:
        assert sum(start <= at < start + NS_PER_S for at in times) <= 10
