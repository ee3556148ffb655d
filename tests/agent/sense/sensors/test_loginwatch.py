"""Lines become logins, bursts of them and first times; what is typed stays where it is redacted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.sense.ports import SensorSpec
from agent.sense.sensors.loginbursts import BurstSettings
from agent.sense.sensors.logintext import FAILED, LoginText
from agent.sense.sensors.loginwatch import (
    ENDED_MAX,
    PER_LINE_MAX,
    LoginSettings,
    LoginWatch,
    entity_of,
)
from agent.sense.sensors.syslogline import Stamped
from proto import codec
from proto.model import Login, ObservationKind, Precision, User
from tests.fakes.clock import FakeClock

SPEC = SensorSpec("authlog", "a log", "logged logins", "", "", "")
KEY = "Accepted publickey for anna from 192.0.2.1 port 9 ssh2: ED25519 SHA256:" + "A" * 43
SUDO = "anna : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id"
SETTINGS = LoginSettings(BurstSettings(failures_min=3), baseline_s=0)


@pytest.fixture
def watch() -> LoginWatch:
    return LoginWatch(SETTINGS, SPEC, FakeClock())


def kinds(watch: LoginWatch, program: str, message: str) -> list[ObservationKind]:
    return [seen.kind for seen in watch.read(program, message, None)]


def test_a_login_comes_first_and_what_it_means_after_it(watch: LoginWatch) -> None:
    first = list(watch.read("sshd", KEY, Stamped(5, Precision.EXACT)))
    again = kinds(watch, "sshd", KEY)

    assert [seen.kind for seen in first] == [ObservationKind.LOGIN, ObservationKind.LOGIN_NEW_KEY]
    assert {(seen.event_time, seen.event_precision) for seen in first} == {(5, Precision.EXACT)}
    assert again == [ObservationKind.LOGIN]
    assert kinds(watch, "sudo", SUDO) == [ObservationKind.LOGIN_NEW_SUDOER]
    assert kinds(watch, "cron", "nothing of ours") == []


def test_a_burst_leaves_out_what_differs_between_its_attempts(watch: LoginWatch) -> None:
    told = []
    for user in ("a", "b", "c"):
        login = LoginText("sshd", FAILED, user, address="203.0.113.9", port=ord(user))
        told += list(watch.login(login, None))

    assert told[-1].kind is ObservationKind.LOGIN_BURST
    assert told[-1].subject.value == Login(
        remote_address="203.0.113.9",
        outcome="failed",
        user=UNSET,
        service="sshd",
        attempts=3,
        accounts=3,
    )


def test_a_summary_of_repeats_is_so_many_attempts_within_the_bound(watch: LoginWatch) -> None:
    text = "Failed password for root from 203.0.113.9 port 1 ssh2"

    told = kinds(watch, "sshd", f"message repeated 99 times: [ {text}]")

    assert told.count(ObservationKind.LOGIN) == 8
    assert told.count(ObservationKind.LOGIN_BURST) == 1
    assert len(told) <= PER_LINE_MAX


def test_a_restart_goes_on_and_any_other_state_begins_to_learn() -> None:
    clock = FakeClock()
    watch = LoginWatch(SETTINGS, SPEC, clock)
    kinds(watch, "sshd", KEY)
    state = watch.state()

    watch.restore(state)
    known = kinds(watch, "sshd", KEY)
    watch.restore(b"\xc1")

    assert known == [ObservationKind.LOGIN]
    assert len(kinds(watch, "sshd", KEY)) == 2


def test_what_is_not_told_is_said() -> None:
    clock = FakeClock()
    watch = LoginWatch(LoginSettings(BurstSettings(origins_max=16)), SPEC, clock)
    for n in range(20):
        list(watch.login(LoginText("sshd", FAILED, None, address=f"192.0.2.{n}"), None))
    clock.forward(3600)
    list(watch.tick())

    assert watch.caveat() == (
        "learning which keys and users of sudo are usual for 23 h more;"
        " origins of failed logins forgotten: 4"
    )


def test_many_bursts_that_end_at_once_are_told_in_bounded_returns() -> None:
    clock = FakeClock()
    watch = LoginWatch(SETTINGS, SPEC, clock)
    for n in range(40):
        for _ in range(5):
            list(watch.login(LoginText("sshd", FAILED, None, address=f"192.0.2.{n}"), None))
    clock.forward(600)

    told = [len(list(watch.tick())) for _ in range(4)]

    assert told == [ENDED_MAX, ENDED_MAX, 40 - 2 * ENDED_MAX, 0]


def test_an_entity_says_what_was_not_collected() -> None:
    login = entity_of(LoginText("sshd", FAILED, None, address=""))

    assert (login.remote_address, login.remote_port) == (UNSET, UNSET)
    assert login.user == User(name=None)


@given(st.sampled_from(["sshd", "sudo", "su", "x"]), st.text(max_size=300))
def test_any_message_gives_records_that_can_be_sealed(program: str, message: str) -> None:
    watch = LoginWatch(SETTINGS, SPEC, FakeClock())

    for seen in watch.read(program, message, None):
        codec.encode_record(seen)


@given(st.binary(max_size=100))
def test_any_state_starts(state: bytes) -> None:
    watch = LoginWatch(SETTINGS, SPEC, FakeClock())

    watch.restore(state)

    assert ObservationKind.LOGIN in kinds(watch, "sshd", KEY)
