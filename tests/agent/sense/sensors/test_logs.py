"""Configured logs are told line by line, but for what somebody may have typed; no login twice."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.ports import Sighting
from agent.sense.sensors.logs import (
    MATCHES_MAX,
    LogFileSettings,
    LogsSensor,
    LogsSettings,
)
from proto.model import (
    HealthState,
    Login,
    LogLine,
    Observation,
    ObservationKind,
    Precision,
    Role,
    User,
)
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.driving import drain, drops_of, is_readable
from tests.fakes.clock import FakeClock

NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * NS_PER_S
LINE = "Nov 22 10:00:00 web cron[5]: job {}\n"
SSHD = "Nov 22 10:00:00 web sshd[1]: Failed password for hunter2 from 203.0.113.9 port 5 ssh2\n"
AUDIT = "type={} msg=audit(1700000000.123:45): pid=1 uid=0 auid=1000 ses=2 msg='{}'\n"
AUTH = 'op=password acct="anna" exe="/usr/sbin/sshd" addr=203.0.113.9 terminal=ssh res=failed'


class Host:
    """A host with logs, and one sensor on it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "var/log/audit").mkdir(parents=True)
        self.clock = FakeClock()
        self.clock.wall = NOON
        self.host = HostRoot(root)
        self.settings = LogsSettings()
        self.sensor = LogsSensor(self.settings, self.host, self.clock)

    def append(self, text: str | bytes, name: str = "syslog") -> None:
        with (self.root / "var/log" / name).open("ab") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        if name == "auth.log":
            os.utime(self.root / "var/log" / name, ns=(self.clock.wall, self.clock.wall))

    def start(self, cursor: bytes = b"", *files: LogFileSettings) -> list[Sighting]:
        self.sensor.stop()
        if files:
            self.settings = LogsSettings(files=files)
        self.sensor = LogsSensor(self.settings, self.host, self.clock)
        self.sensor.start(cursor)
        return self.poll()

    def poll(self) -> list[Sighting]:
        return drain(self.sensor, self.clock)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.sensor.stop()
    made.host.close()


def seen(told: list[Sighting]) -> list[Observation]:
    return [one for one in told if isinstance(one, Observation)]


def lines(told: list[Sighting]) -> list[LogLine]:
    return [s.subject.value for s in seen(told) if isinstance(s.subject.value, LogLine)]


def messages(told: list[Sighting]) -> list[str]:
    return [line.message for line in lines(told)]


def kinds(told: list[Sighting]) -> list[ObservationKind]:
    return [one.kind for one in seen(told)]


def test_a_line_is_told_with_its_program_place_and_time(host: Host) -> None:
    host.append(LINE.format(1) + LINE.format(2))

    _, told = seen(host.start())

    assert told.subject.value == LogLine("/var/log/syslog", "cron", "job 2", len(LINE) - 1)
    assert told.subject.role is Role.RELATED
    assert (told.event_time, told.event_precision) == (
        NOON - 2 * 3600 * NS_PER_S,
        Precision.SECOND,
    )


def test_a_new_line_wakes_the_loop(host: Host) -> None:
    host.append(LINE.format(1))
    host.start()

    host.append(LINE.format(2))

    assert is_readable(host.sensor)
    assert messages(host.poll()) == ["job 2"]


def test_a_restart_goes_on_in_every_log(host: Host) -> None:
    host.append(LINE.format(1))
    host.append(LINE.format(2), "messages")
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    host.append(LINE.format(3))
    host.append(LINE.format(4), "messages")

    told = host.start(sealed)

    assert sorted(messages(told)) == ["job 3", "job 4"]
    assert host.sensor.cursor() != sealed


def test_a_line_of_a_program_that_lets_people_in_does_not_leave(host: Host) -> None:
    host.append(SSHD + LINE.format(1))

    told = host.start()

    assert kinds(told) == [ObservationKind.LOGIN, ObservationKind.LOG_LINE]
    assert "hunter2" not in repr(lines(told))


def test_logins_are_told_by_the_auth_log_where_there_is_one(host: Host) -> None:
    host.append("", "auth.log")
    host.append(SSHD + LINE.format(1))
    host.append(AUDIT.format("USER_AUTH", AUTH), "audit/audit.log")

    told = host.start()
    host.sensor.stop()
    host.settings = LogsSettings(logins_from="always")

    assert kinds(told) == [ObservationKind.LOG_LINE]
    assert kinds(host.start()).count(ObservationKind.LOGIN) == 2


def test_logins_are_never_told_where_nobody_wants_them(host: Host) -> None:
    host.append(SSHD)
    host.settings = LogsSettings(logins_from="never")

    assert host.start() == []
    assert host.sensor.health().reason == ""


def test_an_auth_log_that_comes_later_takes_over(host: Host) -> None:
    host.append(SSHD)
    first = host.start()
    host.append("", "auth.log")
    host.clock.forward(61)
    host.poll()
    host.append(SSHD)

    assert kinds(first) == [ObservationKind.LOGIN]
    assert host.poll() == []


def test_the_audit_log_tells_logins_accounts_and_what_is_plain(host: Host) -> None:
    added = 'op=add-user acct="bert" exe="/usr/sbin/useradd" res=success'
    command = 'cwd="/" cmd=6964 exe="/usr/bin/sudo" terminal=pts/0 res=success'
    host.append(
        AUDIT.format("USER_AUTH", AUTH)
        + AUDIT.format("ADD_USER", added)
        + AUDIT.format("USER_CMD", command)
        + "type=AVC msg=audit(1700000000.123:46): avc: denied\n"
        + 'type=EXECVE msg=audit(1700000000.123:47): argc=1 a0="secret"\n'
        + "junk\n",
        "audit/audit.log",
    )

    told = seen(host.start())

    assert [one.kind for one in told] == [
        ObservationKind.LOGIN,
        ObservationKind.ACCOUNT_ADDED,
        ObservationKind.LOG_LINE,
    ]
    assert told[1].subject.value == User(name="bert")
    assert told[1].subject.role is Role.TARGET
    assert told[1].event_precision is Precision.EXACT
    assert isinstance(told[0].subject.value, Login)
    assert lines([told[2]])[0].program == "audit"
    assert "secret" not in repr(told)


def test_a_first_user_of_sudo_is_told_from_the_audit_log(host: Host) -> None:
    host.start()
    host.clock.forward(86_401)
    host.poll()
    command = 'cwd="/" cmd=6964 exe="/usr/bin/sudo" terminal=pts/0 res=success'
    host.append(AUDIT.format("USER_CMD", command), "audit/audit.log")

    assert kinds(host.poll()) == [ObservationKind.LOGIN_NEW_SUDOER]


def test_any_configured_log_is_read_by_its_own_name(host: Host) -> None:
    host.append("no form at all\n", "app.out")

    (line,) = lines(host.start(b"", LogFileSettings("/var/log/app.out", "app", "plain")))

    assert (line.program, line.message) == ("app", "no form at all")


def test_a_pattern_follows_what_comes_and_leaves_rotated_files_to_their_log(host: Host) -> None:
    pattern = LogFileSettings("/var/log/*.log*", "app", "plain")
    host.append("one\n", "a.log")
    host.append("old\n", "a.log.1")
    first = host.start(b"", pattern)
    host.append("two\n", "b.log")
    host.clock.forward(61)

    second = host.poll()

    assert messages(first) == ["one"]
    assert messages(second) == ["two"]


def test_a_pattern_is_bounded_and_says_what_it_leaves_out(host: Host) -> None:
    for n in range(MATCHES_MAX + 3):
        host.append("x\n", f"app{n:02d}")

    told = host.start(b"", LogFileSettings("/var/log/app*", "app", "plain"))

    assert len(told) == MATCHES_MAX
    assert host.sensor.health().reason.startswith("logs over the limit of 32 to a pattern: 3")


def test_a_pattern_in_a_directory_that_is_not_there_is_waited_for(host: Host) -> None:
    host.start(b"", LogFileSettings("/srv/log/*.log", "app", "plain"))
    before = host.sensor.health()
    (host.root / "srv/log").mkdir(parents=True)
    (host.root / "srv/log/a.log").write_text("one\n")
    host.clock.forward(61)

    assert (before.state, before.reason.partition(";")[0]) == (
        HealthState.BLIND,
        "no such log here",
    )
    assert messages(host.poll()) == ["one"]


def test_junk_is_text_and_a_long_line_is_cut(host: Host) -> None:
    host.append(b"\0\0\xff\xfe junk\n" + b"y" * 5000 + b"\n")

    junk, long = messages(host.start())

    assert junk == "\\xff\\xfe junk"
    assert len(long) == 2048
    assert long.endswith("[cut]")


def test_a_truncation_is_a_gap_that_is_said(host: Host) -> None:
    host.append(LINE.format(1))
    host.start()
    os.truncate(host.root / "var/log/syslog", 0)
    host.append(LINE.format(22))

    told = host.poll()

    assert [drop.sensor for drop in drops_of(told)] == ["logs"]
    assert messages(told) == ["job 22"]
    assert host.sensor.health().dropped == 1


def test_a_host_without_any_of_the_logs_is_blind_in_few_words(host: Host) -> None:
    told = host.start()

    health = host.sensor.health()

    assert told == []
    assert health.state is HealthState.BLIND
    assert health.reason.startswith("no such log here; ")


def test_the_cursor_after_a_stop_is_the_one_before_it(host: Host) -> None:
    host.append(LINE.format(1))
    host.start()
    before = host.sensor.cursor()

    host.sensor.stop()

    assert host.sensor.cursor() == before
    assert host.sensor.poll(0) == ()


@given(st.binary(max_size=300), st.sampled_from(["syslog", "audit", "plain"]))
def test_any_bytes_in_any_log_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, kind: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "anylog"
    root.mkdir(exist_ok=True)
    (root / "log").write_bytes(junk + b"\n")
    clock = FakeClock()
    with HostRoot(root) as host:
        file = LogFileSettings("/log", "x", kind)  # type: ignore[arg-type]
        sensor = LogsSensor(LogsSettings(files=(file,)), host, clock)
        sensor.start(b"")
        drain(sensor, clock)
        sensor.stop()
