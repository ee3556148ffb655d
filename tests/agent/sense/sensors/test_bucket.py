from agent.sense.sensors.bucket import Bucket
from runtime.clock import NS_PER_S


def test_a_burst_is_given_leave_and_then_a_rate() -> None:
    bucket = Bucket(per_s=5, burst=20)
    now = 100 * NS_PER_S

    at_once = sum(bucket.take(now) for _ in range(100))
    in_a_second = sum(bucket.take(now + NS_PER_S) for _ in range(100))
    after_a_rest = sum(bucket.take(now + 3600 * NS_PER_S) for _ in range(100))

    assert (at_once, in_a_second, after_a_rest) == (20, 5, 20)


def test_a_rate_of_nothing_gives_no_leave() -> None:
    assert not Bucket(per_s=0, burst=0).take(NS_PER_S)
