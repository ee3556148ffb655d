"""The laws of freshness."""

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.freshness import STALE_NS_MAX, freshness, health_of, stamp
from proto.model import Freshness, HealthState

TIMES = st.integers(0, 2**62)


@given(expires=TIMES, now=TIMES)
def test_content_only_gets_older(expires: int, now: int) -> None:
    order = [Freshness.FRESH, Freshness.STALE, Freshness.EXPIRED]

    tiers = [order.index(freshness(expires, now + step)) for step in (0, 1, STALE_NS_MAX, 2**62)]

    assert tiers == sorted(tiers)


def test_the_borders_of_the_tiers_are_the_expiry_and_thirty_days_after() -> None:
    assert freshness(100, 99) is Freshness.FRESH
    assert freshness(100, 100) is Freshness.STALE
    assert freshness(100, 100 + 30 * 86_400 * 10**9) is Freshness.STALE
    assert freshness(100, 101 + 30 * 86_400 * 10**9) is Freshness.EXPIRED


def test_content_from_the_future_has_no_negative_age() -> None:
    assert stamp("indicators", 7, 200, Freshness.FRESH, 100).age == 0
    assert stamp("indicators", 7, 100, Freshness.FRESH, 300).age == 200


def test_only_fresh_content_is_healthy() -> None:
    assert health_of(Freshness.FRESH) is HealthState.OK
    assert health_of(Freshness.STALE) is HealthState.DEGRADED
    assert health_of(Freshness.EXPIRED) is HealthState.DEGRADED
