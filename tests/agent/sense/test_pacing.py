"""The laws of pacing: who is eased rests between two looks, and is always looked at again."""

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.pacing import PAUSES_NS, STRETCH, STRETCH_NS_MAX, Pace
from agent.sense.ports import Ease
from runtime.clock import NS_PER_S

TIMES = st.integers(0, 10**12)
READING = st.sampled_from([level for level in Ease if level is not Ease.HEARTBEAT])


def at(level: Ease) -> Pace:
    pace = Pace()
    pace.level = level
    return pace


@given(st.none() | TIMES, TIMES)
def test_in_normal_times_a_source_is_read_when_it_wants_to_be(due: int | None, now: int) -> None:
    pace = at(Ease.NORMAL)
    pace.was_read("a", now)

    assert not pace.rests("a", now)
    assert pace.due("a", due, now, has_events=True) == due


def test_an_interval_is_stretched_and_an_event_waits_for_the_pause() -> None:
    pace = at(Ease.SLOWER)
    pace.was_read("a", 10 * NS_PER_S)
    now = 10 * NS_PER_S + 1

    pause = PAUSES_NS[Ease.SLOWER]
    fifth = pace.due("a", 15 * NS_PER_S, now, has_events=False)
    assert fifth == (10 + STRETCH * 5) * NS_PER_S
    pace.was_read("a", 10 * NS_PER_S)
    assert pace.due("a", 70 * NS_PER_S, now, has_events=False) == 130 * NS_PER_S
    assert pace.due("a", None, now, has_events=True) == 10 * NS_PER_S + pause
    assert pace.due("a", None, now, has_events=False) is None
    assert pace.rests("a", now)
    assert not pace.rests("a", 10 * NS_PER_S + pause)
    assert pace.due("a", None, 10 * NS_PER_S + pause, has_events=True) is None


def test_pauses_grow_with_what_is_given_up() -> None:
    pauses = [PAUSES_NS[level] for level in (Ease.SLOWER, Ease.NO_HASHING, Ease.NO_ENRICHMENT)]

    assert pauses == sorted(pauses)


def test_with_a_heartbeat_alone_nothing_is_read() -> None:
    pace = at(Ease.HEARTBEAT)

    assert pace.rests("a", 10**18)
    assert pace.due("a", 0, 10**18, has_events=True) is None


def test_one_that_always_says_now_is_read_in_bounded_time() -> None:
    pace = at(Ease.SLOWER)
    pace.was_read("a", 0)
    now = 500 * NS_PER_S

    wanted = pace.due("a", now, now, has_events=False)

    assert wanted is not None
    assert wanted - now <= STRETCH_NS_MAX
    assert pace.due("a", wanted, wanted, has_events=False) == wanted


@given(level=READING, last=TIMES, due=TIMES, has_events=st.booleans())
def test_whoever_is_due_is_read_in_the_end(
    level: Ease, last: int, due: int, *, has_events: bool
) -> None:
    pace = at(level)
    pace.was_read("a", last)
    now = last
    for _ in range(3):
        wanted = pace.due("a", due, now, has_events=has_events)
        assert wanted is not None
        if not pace.rests("a", now) and wanted <= now:
            return
        assert wanted > now
        now = wanted

    assert not pace.rests("a", now)
