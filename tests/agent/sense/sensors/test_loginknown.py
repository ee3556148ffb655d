"""A first time is told once, after the baseline, across restarts, in bounded memory."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.loginknown import KEYS_PER_USER_MAX, KNOWN_MAX, Known, KnownState

DAY = 86_400_000_000_000


@pytest.fixture
def known() -> Known:
    made = Known(DAY)
    made.tick(0)
    made.tick(DAY)
    return made


def test_what_is_met_while_learning_is_usual() -> None:
    known = Known(DAY)
    known.tick(0)
    learning = known.learning_ns

    told = [known.is_new_key("anna", "k"), known.is_new_sudoer("anna")]
    known.tick(DAY)
    later = [known.is_new_key("anna", "k"), known.is_new_sudoer("anna")]

    assert (learning, known.learning_ns) == (DAY, 0)
    assert told == later == [False, False]


def test_the_baseline_goes_by_time_spent_looking() -> None:
    known = Known(DAY)
    known.tick(10 * DAY)
    known.tick(10 * DAY + 5)
    kept = known.state()
    known = Known(DAY)
    known.tick(99 * DAY)
    known.restore(kept)
    known.tick(0)  # another boot
    known.tick(7)

    assert known.learning_ns == DAY - 12


def test_each_key_is_new_once_for_each_user(known: Known) -> None:
    pairs = [("anna", "k"), ("anna", "k"), ("bert", "k"), ("anna", "l"), ("bert", "k")]

    assert [known.is_new_key(*pair) for pair in pairs] == [True, False, True, True, False]


def test_each_user_of_sudo_is_new_once(known: Known) -> None:
    assert [known.is_new_sudoer(user) for user in ("anna", "anna", "bert")] == [True, False, True]


def test_a_restart_knows_what_was_told(known: Known) -> None:
    known.is_new_key("anna", "k")
    known.is_new_sudoer("anna")
    kept = msgspec.msgpack.encode(known.state())

    again = Known(DAY)
    again.restore(msgspec.msgpack.decode(kept, type=KnownState))

    assert again.learning_ns == 0
    assert not again.is_new_key("anna", "k")
    assert not again.is_new_sudoer("anna")
    assert again.is_new_key("anna", "l")


def test_of_a_user_with_very_many_keys_none_is_told_and_others_are_not_forgotten(
    known: Known,
) -> None:
    known.is_new_sudoer("anna")
    told = [known.is_new_key("git", str(n)) for n in range(5000)]

    assert sum(told) == KEYS_PER_USER_MAX + 1
    assert (known.crowded, known.forgotten) == (1, 0)
    assert not known.is_new_sudoer("anna")


def test_what_is_kept_is_bounded_and_says_what_it_forgot(known: Known) -> None:
    for n in range(KNOWN_MAX + 10):
        known.is_new_sudoer(str(n))

    assert known.forgotten == 10
    assert len(known.state().rows) == 12 * KNOWN_MAX


@given(st.binary(max_size=200), st.integers(-(2**70), 2**70))
def test_any_state_can_be_gone_on_from(rows: bytes, learning_ns: int) -> None:
    known = Known(DAY)
    known.restore(KnownState(learning_ns, rows))

    known.is_new_key("anna", "k")

    assert not known.is_new_key("anna", "k")
    assert known.learning_ns >= 0
