"""Logins come out of a real log once each, with time, origin and outcome, and no raw text."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, Sighting
from agent.sense.sensors.authlog import AuthLogSensor, AuthLogSettings
from proto.model import (
    DropReason,
    HealthState,
    Login,
    Observation,
    ObservationKind,
    Precision,
    User,
)
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.driving import drain, drops_of, is_readable
from tests.fakes.clock import FakeClock

DATA = Path(__file__).parents[3] / "data" / "authlog"
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * NS_PER_S
FAILURE = "Nov 22 10:00:00 web sshd[1]: Failed password for root from 203.0.113.9 port {} ssh2\n"

ACCEPTED = FAILURE.format(2).replace("Failed", "Accepted")
KEY = (
    "Nov 22 10:00:00 web sshd[1]: Accepted publickey for anna from 192.0.2.1 port 9 ssh2: RSA"
    " SHA256:{}\n"
)
SUDO = "Nov 22 10:00:00 web sudo:     {} : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id\n"


class Host:
    """A host with an auth log, and one sensor on it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "var/log/auth.log"
        self.log.parent.mkdir(parents=True)
        self.clock = FakeClock()
        self.clock.wall = NOON
        self.host = HostRoot(root)
        self.sensor = self.a_sensor()

    def a_sensor(self) -> AuthLogSensor:
        return AuthLogSensor(AuthLogSettings(), self.host, self.clock)

    def append(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text)

    def start(self, cursor: bytes = b"") -> list[Sighting]:
        self.sensor.stop()
        self.sensor = self.a_sensor()
        self.sensor.start(cursor)
        return drain(self.sensor, self.clock)

    def poll(self) -> list[Sighting]:
        return drain(self.sensor, self.clock)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.sensor.stop()
    made.host.close()


def logins(told: list[Sighting]) -> list[Login]:
    found = []
    for seen in told:
        assert isinstance(seen, Observation)
        if seen.kind is not ObservationKind.LOGIN:
            continue
        assert isinstance(seen.subject.value, Login)
        found.append(seen.subject.value)
    return found


def login_in(seen: Sighting) -> Login:
    assert isinstance(seen, Observation)
    assert isinstance(seen.subject.value, Login)
    return seen.subject.value


def attempts(seen: Sighting) -> object:
    found = login_in(seen).attempts
    return None if found is UNSET else found


def kinds(told: list[Sighting]) -> list[ObservationKind]:
    return [seen.kind for seen in told if isinstance(seen, Observation)]


def ports(told: list[Sighting]) -> list[object]:
    return [login.remote_port for login in logins(told)]


def test_a_real_log_gives_each_attempt_once(host: Host) -> None:
    shutil.copy(DATA / "debian.log", host.log)

    found = logins(host.start())

    assert [
        (x.service, x.outcome, x.user.name if isinstance(x.user, User) else "", x.remote_address)
        for x in found
    ] == [
        ("sshd", "failed", "admin", "203.0.113.9"),
        ("sshd", "failed", "root", "203.0.113.9"),
        ("sshd", "failed", "root", "203.0.113.9"),
        ("sshd", "failed", "root", "203.0.113.9"),
        ("sshd", "failed", "git", "198.51.100.7"),
        ("sshd", "accepted", "deploy", "192.0.2.10"),
        ("su", "failed", "root", None),
        ("sudo", "accepted", "root", None),
    ]
    assert found[5] == Login(
        tty=None,
        remote_address="192.0.2.10",
        method="publickey",
        outcome="accepted",
        user=User(name="deploy"),
        remote_port=52222,
        service="sshd",
        fingerprint="SHA256:" + 43 * "0",
    )


def test_exact_stamps_stay_exact(host: Host) -> None:
    shutil.copy(DATA / "rfc3339.log", host.log)

    first, second = host.start()

    assert isinstance(first, Observation)
    assert isinstance(second, Observation)
    assert first.event_time == NOON - 3 * 3600 * NS_PER_S + 2_250_000_000
    assert second.event_time - first.event_time == 2_250_000_000
    assert first.event_precision is Precision.EXACT
    assert [login.remote_address for login in logins([first, second])] == [
        "2001:db8::9",
        "2001:db8::10",
    ]


def test_a_plain_stamp_is_in_the_hosts_zone_and_exact_to_the_second(host: Host) -> None:
    zone = Path("/usr/share/zoneinfo/Europe/Berlin")
    if not zone.exists():
        pytest.skip("this host has no time zones")
    (host.root / "etc").mkdir()
    shutil.copy(zone, host.root / "etc/localtime")
    host.append(FAILURE.format(1))

    (seen,) = host.start()

    assert isinstance(seen, Observation)
    assert seen.event_time == NOON - 3 * 3600 * NS_PER_S
    assert seen.event_precision is Precision.SECOND
    assert seen.observed_at == NOON


def test_a_time_that_does_not_exist_is_not_made_up(host: Host) -> None:
    host.append(FAILURE.format(1).replace("Nov 22", "Nov 31"))

    (seen,) = host.start()

    assert isinstance(seen, Observation)
    assert (seen.event_time, seen.event_precision) == (NOON, Precision.UNKNOWN)


def test_an_origin_that_is_no_address_was_not_collected(host: Host) -> None:
    host.append(FAILURE.format(1).replace("203.0.113.9", "UNKNOWN"))

    (login,) = logins(host.start())

    assert (login.remote_address, login.remote_port) == (UNSET, UNSET)


def test_a_new_line_wakes_the_loop_and_is_told(host: Host) -> None:
    host.append(FAILURE.format(1))
    host.start()

    host.append(FAILURE.format(2))
    woken = is_readable(host.sensor)

    assert woken
    assert ports(host.poll()) == [2]
    assert not is_readable(host.sensor)


def test_an_idle_log_asks_for_nothing_for_a_minute(host: Host) -> None:
    host.append(FAILURE.format(1))
    host.start()

    due = host.sensor.due()

    assert due is not None
    assert due > host.clock.boot_ns()
    assert due % (60 * NS_PER_S) == 0


def test_the_sealed_cursor_replays_exactly_what_came_after_it(host: Host) -> None:
    host.append("".join(FAILURE.format(n) for n in range(10)))
    host.start()
    sealed = host.sensor.cursor()
    host.append("".join(FAILURE.format(n) for n in range(10, 20)))
    later = host.poll()

    again = host.start(sealed)

    assert ports(later) == ports(again) == list(range(10, 20))


def test_the_cursor_after_a_stop_is_the_one_before_it(host: Host) -> None:
    host.append(FAILURE.format(1))
    host.start()
    before = host.sensor.cursor()

    host.sensor.stop()
    host.sensor.stop()

    assert host.sensor.cursor() == before
    assert host.sensor.poll(0) == ()
    assert host.start(before) == []


def test_a_rotation_loses_nothing(host: Host) -> None:
    host.append(FAILURE.format(1))
    host.start()
    host.append(FAILURE.format(2))
    host.log.rename(host.log.with_name("auth.log.1"))
    host.append(FAILURE.format(3))

    assert ports(host.poll()) == [2, 3]


def test_a_truncation_is_a_declared_gap(host: Host) -> None:
    host.append(FAILURE.format(1) * 3)
    host.start()
    os.truncate(host.log, 0)
    host.append(FAILURE.format(2))

    told = host.poll()
    (drop,) = drops_of(told)

    assert drop.detail == "/var/log/auth.log: truncated: what was written just before is lost"
    assert drop.last == NOON
    assert ports(told[1:]) == [2]
    assert host.sensor.health().dropped == 1


def test_a_flood_is_told_in_bounded_returns_and_whole(host: Host) -> None:
    line = FAILURE.replace("Failed", "message repeated 9 times: [ Failed").replace("\n", "]\n")
    host.append("".join(line.format(n) for n in range(500)))
    host.sensor.start(b"")

    first = [*host.sensor.poll(host.clock.boot_ns() + NS_PER_S)]
    rest = host.poll()

    assert 0 < len(first) <= POLL_SIGHTINGS_MAX
    assert len(ports(first)) + len(ports(rest)) == 500 * 8
    assert kinds([*first, *rest]).count(ObservationKind.LOGIN_BURST) == 1


def test_ends_of_connections_count_only_where_no_failure_was_told(host: Host) -> None:
    end = "Nov 22 10:00:01 web sshd[1]: Connection closed by invalid user x {} port 5 [preauth]\n"
    host.append(FAILURE.format(5) + end.format("203.0.113.9") + end.format("203.0.113.10"))

    found = logins(host.start())

    assert [(x.remote_address, x.method) for x in found] == [
        ("203.0.113.9", "password"),
        ("203.0.113.10", None),
    ]


def test_a_log_appears_later_and_is_read_whole(host: Host) -> None:
    told = host.start()
    blind = host.sensor.health()
    host.append(FAILURE.format(1))

    assert told == []
    assert blind.state is HealthState.BLIND
    assert "/var/log/auth.log: no such file" in blind.reason
    assert ports(host.poll()) == [1]
    assert host.sensor.health().state is HealthState.OK


def test_a_log_that_cannot_be_read_is_degraded_beside_one_that_can(host: Host) -> None:
    host.append(FAILURE.format(1))
    os.mkfifo(host.log.with_name("secure"))

    told = host.start()

    assert ports(told) == [1]
    assert host.sensor.health().state is HealthState.DEGRADED


def test_no_raw_line_and_no_long_name_leaves_the_sensor(host: Host) -> None:
    name = "S3cret! " * 60
    host.append(
        f"Nov 22 10:00:00 web sshd[1]: Failed password for invalid user {name} from 203.0.113.9"
        " port 5 ssh2\n"
    )

    (login,) = logins(host.start())

    assert isinstance(login.user, User)
    assert isinstance(login.user.name, str)
    assert len(login.user.name) == 256


def test_brute_force_is_told_when_it_begins_and_with_its_count_when_it_is_over(host: Host) -> None:
    host.start()
    host.append(FAILURE.format(1) * 25)

    began = [seen for seen in host.poll() if kinds([seen]) == [ObservationKind.LOGIN_BURST]]
    host.clock.forward(301)
    ended = host.poll()
    host.clock.forward(301)

    assert [attempts(seen) for seen in (*began, *ended)] == [10, 25]
    assert host.poll() == []


def test_a_login_after_brute_force_is_told_with_it(host: Host) -> None:
    host.append(FAILURE.format(1) * 12 + ACCEPTED)
    told = host.start()
    host.append(ACCEPTED)

    (won,) = [x for x in told if attempts(x) and login_in(x).outcome == "accepted"]

    assert login_in(won).remote_address == "203.0.113.9"
    assert login_in(won).user == User(name="root")
    assert attempts(won) == 12
    assert kinds(host.poll()) == [ObservationKind.LOGIN]


def test_a_restart_tells_no_burst_again_and_goes_on_counting(host: Host) -> None:
    host.append(FAILURE.format(1) * 12)
    first = host.start()
    sealed = host.sensor.cursor()
    host.append(FAILURE.format(1) * 8)

    again = host.start(sealed)
    host.clock.forward(301)

    assert kinds(first).count(ObservationKind.LOGIN_BURST) == 1
    assert set(kinds(again)) == {ObservationKind.LOGIN}
    assert [attempts(seen) for seen in host.poll()] == [20]


def test_a_key_and_a_user_of_sudo_are_told_the_first_time_after_the_baseline(host: Host) -> None:
    host.append(KEY.format("A" * 43) + SUDO.format("anna"))
    learned = host.start()
    said = host.sensor.health().reason
    host.clock.forward(86_401)
    host.poll()
    quiet = host.sensor.health().reason

    host.append(KEY.format("A" * 43) + KEY.format("B" * 43) + SUDO.format("anna"))
    host.append(SUDO.format("bert") * 2 + KEY.format("B" * 43))
    told = host.poll()
    again = host.start(host.sensor.cursor())

    assert set(kinds(learned)) == {ObservationKind.LOGIN}
    assert said == "learning which keys and users of sudo are usual for 24 h more"
    assert quiet == ""
    assert [kind for kind in kinds(told) if kind is not ObservationKind.LOGIN] == [
        ObservationKind.LOGIN_NEW_KEY,
        ObservationKind.LOGIN_NEW_SUDOER,
    ]
    assert again == []


def test_what_was_told_and_not_sealed_is_told_again_after_a_crash(host: Host) -> None:
    host.start()
    host.clock.forward(86_401)
    host.poll()
    sealed = host.sensor.cursor()
    host.append(KEY.format("B" * 43) + SUDO.format("bert") + FAILURE.format(3) * 10)

    told = host.poll()

    assert kinds(host.start(sealed)) == kinds(told)
    assert ObservationKind.LOGIN_BURST in kinds(told)


def test_a_line_that_is_too_long_is_cut_counted_and_passed(host: Host) -> None:
    host.start()
    host.append("x" * (1 << 20) + "\n" + FAILURE.format(1))

    told = host.poll()

    (drop,) = drops_of(told)
    assert (drop.reason, drop.count) == (DropReason.OVERFLOW, 1)
    assert ports([seen for seen in told if seen is not drop]) == [1]


@given(st.binary(max_size=400))
def test_any_bytes_in_a_log_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    root = tmp_path_factory.getbasetemp() / "junk"
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    log = root / "var/log/auth.log"
    log.write_bytes(junk + b"\n" + FAILURE.format(7).encode())
    clock = FakeClock()

    with HostRoot(root) as host:
        sensor = AuthLogSensor(AuthLogSettings(), host, clock)
        sensor.start(b"")
        told = drain(sensor, clock)
        sensor.stop()

    assert ports(told[-1:]) == [7]
