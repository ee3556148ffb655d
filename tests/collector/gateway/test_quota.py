import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.identity import AgentId, PeerIdentity
from collector.errors import AccessDenied, Denial
from collector.gateway.quota import Places, Rates, TokenBucket
from collector.gateway.settings import StreamSettings
from runtime.clock import NS_PER_S
from tests.collector.sealing import TENANT


def peer(number: int) -> PeerIdentity:
    return PeerIdentity(TENANT, AgentId(bytes([number]) * 16))


def test_a_burst_is_free_and_what_is_beyond_it_is_waited_off() -> None:
    bucket = TokenBucket(rate=10, burst=5, now_ns=0)

    waits = [bucket.take(1, 0) for _ in range(7)]

    assert waits == [0, 0, 0, 0, 0, pytest.approx(0.1), pytest.approx(0.2)]
    assert bucket.take(1, 10 * NS_PER_S) == 0


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, NS_PER_S)), min_size=1, max_size=60))
def test_who_waits_as_told_never_takes_more_than_the_rate_and_one_burst(
    takes: list[tuple[int, int]],
) -> None:
    bucket, now, taken = TokenBucket(rate=100, burst=20, now_ns=0), 0.0, 0
    for count, idle_ns in takes:
        now += idle_ns
        wait_s = bucket.take(count, int(now))
        taken += count
        now += wait_s * NS_PER_S
        assert taken <= 20 + 100 * now / NS_PER_S + 1e-3


def test_places_are_counted_for_each_key_and_come_back() -> None:
    places = Places("streams", 2)

    with places.one("a"), places.one("a"), places.one("b"):
        with pytest.raises(AccessDenied) as caught, places.one("a"):
            pass
        assert places.total() == 3
    with places.one("a"):
        assert places.total() == 1

    assert caught.value.denial is Denial.QUOTA
    assert places.total() == 0


def test_a_new_connection_earns_no_new_burst() -> None:
    limits = StreamSettings(agent_batches_per_s_max=1, agent_batches_burst_max=2)
    rates = Rates(limits)

    waits = [rates.take(peer(1), 1, 0) for _ in range(3)]

    assert waits == [0, 0, 1]
    assert rates.take(peer(2), 1, 0) == 0


def test_large_batches_wait_by_their_bytes() -> None:
    limits = StreamSettings(agent_bytes_per_s_max=100, agent_bytes_burst_max=1)

    assert Rates(limits).take(peer(1), 51, 0) == pytest.approx(0.5)


def test_the_rates_of_agents_that_stay_away_are_forgotten() -> None:
    limits = StreamSettings(agent_batches_per_s_max=1, agent_batches_burst_max=1)
    rates = Rates(limits, agents_max=2)

    for number in (1, 2, 3):
        rates.take(peer(number), 1, 0)

    assert rates.take(peer(3), 1, 0) == 1
    assert rates.take(peer(1), 1, 0) == 0
