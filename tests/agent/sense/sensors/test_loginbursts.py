"""Brute force is told once an episode, counted in the log's own time, in bounded memory."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.loginbursts import (
    ACCOUNTS_MAX,
    AGAIN_NS,
    MEMORY_NS,
    SEALED_MAX,
    Attempt,
    Burst,
    Bursts,
    BurstSettings,
    Sealed,
)
from runtime.clock import NS_PER_S

ATTACKER = "203.0.113.9"
SETTINGS = BurstSettings(failures_min=5, window_s=60, origins_max=16)
WINDOW = 60 * NS_PER_S


class Table:
    """A table that is told attempts a second apart, by a reader that keeps up."""

    def __init__(self, settings: BurstSettings = SETTINGS) -> None:
        self.bursts = Bursts(settings)
        self.now = 1_000_000 * NS_PER_S

    def fail(
        self, user: str = "root", address: str = ATTACKER, service: str = "sshd"
    ) -> list[Burst]:
        return self.note(user, address, service, is_accepted=False)

    def accept(self, user: str = "root", address: str = ATTACKER) -> list[Burst]:
        return self.note(user, address, "sshd", is_accepted=True)

    def note(self, user: str, address: str, service: str, *, is_accepted: bool) -> list[Burst]:
        self.now += NS_PER_S
        attempt = Attempt(address, user, service, self.now, is_accepted)
        return list(self.bursts.note(attempt, self.now))

    def later(self, wait_ns: int) -> list[Burst]:
        self.now += wait_ns
        return list(self.bursts.tick(self.now))


@pytest.fixture
def table() -> Table:
    return Table()


def test_as_many_failures_as_make_a_burst_are_told_once(table: Table) -> None:
    told = [table.fail() for _ in range(20)]

    assert [len(bursts) for bursts in told] == [0] * 4 + [1] + [0] * 15
    assert told[4] == [Burst(ATTACKER, "root", "sshd", 5, 1, table.now - 15 * NS_PER_S)]


def test_the_count_is_told_when_nobody_adds_to_it_any_more(table: Table) -> None:
    for _ in range(20):
        table.fail()
    last = table.now

    during = table.later(WINDOW)
    after = table.later(1)

    assert during == []
    assert after == [Burst(ATTACKER, "root", "sshd", 20, 1, last)]
    assert table.later(WINDOW) == []


def test_an_episode_of_no_more_than_was_told_ends_in_silence(table: Table) -> None:
    for _ in range(5):
        table.fail()

    assert table.later(2 * WINDOW) == []


def test_failures_far_apart_are_no_burst(table: Table) -> None:
    told = []
    for _ in range(50):
        table.now += WINDOW // 4
        told += table.fail()

    assert told == []


def test_a_new_episode_is_told_anew(table: Table) -> None:
    first = [burst for _ in range(6) for burst in table.fail()]
    table.later(2 * WINDOW)

    second = [burst for _ in range(5) for burst in table.fail()]

    assert [burst.attempts for burst in first + second] == [5, 5]


def test_an_episode_without_end_is_told_every_hour(table: Table) -> None:
    counts = []
    for _ in range(3 * AGAIN_NS // (20 * NS_PER_S)):
        counts += [burst.attempts for burst in table.fail()]
        table.now += 9 * NS_PER_S

    assert len(counts) == 2
    assert counts[1] > 300


def test_a_backlog_gives_the_episodes_that_the_days_had() -> None:
    bursts = Bursts(SETTINGS)
    told: list[Burst] = []
    for day in range(3):
        for second in range(8):
            at = (day * 86_400 + second) * NS_PER_S
            told += bursts.note(Attempt(ATTACKER, "root", "sshd", at), now=1)

    assert [burst.attempts for burst in told] == [5, 8, 5, 8, 5]


def test_accounts_are_counted_and_the_one_of_many_is_not_named(table: Table) -> None:
    told = [burst for n in range(5) for burst in table.fail(f"user{n}")]

    assert [(b.user, b.accounts, b.attempts) for b in told] == [("", 5, 5)]


def test_one_account_attacked_from_everywhere_is_told_under_the_account(table: Table) -> None:
    told = [burst for n in range(6) for burst in table.fail("anna", f"203.0.113.{n}")]

    assert [(b.address, b.user, b.accounts, b.attempts) for b in told] == [("", "anna", 1, 5)]


def test_local_failures_count_by_account(table: Table) -> None:
    told = [burst for _ in range(5) for burst in table.fail("anna", "", "su")]

    assert [(b.address, b.user, b.service) for b in told] == [("", "anna", "su")]


def test_services_that_differ_are_not_named(table: Table) -> None:
    told = [burst for n in range(5) for burst in table.fail(service=f"s{n % 2}")]

    assert [burst.service for burst in told] == [""]


def test_a_success_in_an_episode_is_told_once_for_an_account(table: Table) -> None:
    for _ in range(7):
        table.fail()

    first, again, other = table.accept(), table.accept(), table.accept("anna")

    assert [(b.is_accepted, b.attempts, b.user) for b in first] == [(True, 7, "root")]
    assert again == []
    assert [b.user for b in other] == ["anna"]


def test_a_success_soon_after_an_episode_is_told_and_a_late_one_is_not(table: Table) -> None:
    for _ in range(7):
        table.fail()
    table.later(2 * WINDOW)

    soon = table.accept()
    table.later(MEMORY_NS)
    late = table.accept("anna")

    assert [(b.is_accepted, b.attempts) for b in soon] == [(True, 7)]
    assert late == []
    assert len(table.bursts) == 0


def test_a_success_without_an_episode_is_nothing(table: Table) -> None:
    table.fail()

    assert table.accept() == []


def test_the_table_is_bounded_and_says_what_it_forgot(table: Table) -> None:
    for n in range(100):
        table.fail("", f"2001:db8::{n:x}")

    assert len(table.bursts) == 16
    assert table.bursts.forgotten == 84


def test_a_restart_knows_what_was_told(table: Table) -> None:
    for _ in range(7):
        table.fail()
    kept = msgspec.msgpack.encode(table.bursts.state())

    table.bursts = Bursts(SETTINGS)
    table.bursts.restore(msgspec.msgpack.decode(kept, type=Sealed), table.now)
    told = [table.fail() for _ in range(3)]

    assert told == [[], [], []]
    assert [burst.attempts for burst in table.later(2 * WINDOW)] == [10]


def test_what_is_kept_for_a_restart_is_bounded() -> None:
    table = Table(BurstSettings(origins_max=4096))
    for n in range(1000):
        for m in range(20):
            table.fail("x" * 256, f"2001:db8::{n:x}")
            table.now += m

    assert len(table.bursts.state()) == SEALED_MAX
    assert len(msgspec.msgpack.encode(table.bursts.state())) < 32 * 1024


@given(
    st.lists(
        st.tuples(
            st.text(max_size=2),
            st.sampled_from(["", "a", "b"]),
            st.integers(-(2**70), 2**70),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_any_attempts_in_any_order_are_counted_within_bounds(
    attempts: list[tuple[str, str, int, bool]],
) -> None:
    bursts = Bursts(SETTINGS)
    for number, (user, address, at, is_accepted) in enumerate(attempts):
        for burst in bursts.note(Attempt(address, user, "s", at, is_accepted), number):
            assert 5 <= burst.attempts <= len(attempts)
            assert 1 <= burst.accounts <= ACCOUNTS_MAX + 1
    assert len(bursts) <= SETTINGS.origins_max
