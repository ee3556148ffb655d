"""The journal is read by its cursor: every entry once, what is gone is said, nothing waits."""

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, Sighting
from agent.sense.sensors.journal import JournalPorts, JournalSensor, JournalSettings
from agent.sense.sensors.journalchild import program, spawn_child
from agent.sense.sensors.logset import decode_cursor
from proto import codec
from proto.model import Drop, DropReason, HealthState, LogLine, Observation, ObservationKind, User
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.driving import drops_of
from tests.debian import extracted, libraries
from tests.fakes.clock import FakeClock
from tests.fakes.journal import FakeJournal, exported

WAIT_S = 20
FAILED = "Failed password for root from 203.0.113.9 port {} ssh2"
MACHINE = "0123456789abcdef" * 2


class Host:
    """A host with a journal, and one sensor on it at a time."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        (root / "var/log/journal" / MACHINE).mkdir(parents=True)
        self.journal = FakeJournal(home)
        self.clock = FakeClock()
        self.host = HostRoot(root)
        self.settings = JournalSettings()
        self.program = str(self.journal.program)
        self.sensor = self.a_sensor()

    def a_sensor(self) -> JournalSensor:
        ports = JournalPorts(spawn_child, lambda: self.program, random.Random(1).random)
        return JournalSensor(self.settings, self.host, self.clock, ports)

    def start(self, cursor: bytes = b"") -> None:
        self.sensor.stop()
        self.sensor = self.a_sensor()
        self.sensor.start(cursor)

    def poll(self) -> list[Sighting]:
        told = [*self.sensor.poll(self.clock.boot_ns() + NS_PER_S)]
        assert len(told) <= POLL_SIGHTINGS_MAX
        for sighting in told:
            codec.encode_record(sighting)
        return told

    def until(self, is_enough: Callable[[list[Sighting]], bool]) -> list[Sighting]:
        """Poll until it is enough; time on the sensor's clock stands still meanwhile."""
        told: list[Sighting] = []
        end = time.monotonic() + WAIT_S
        while not is_enough(told):
            assert time.monotonic() < end, told
            told += self.poll()
            time.sleep(0.002)
        return told

    def take(self, count: int) -> list[Sighting]:
        return self.until(lambda told: len(told) >= count)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    for name in ("root", "home"):
        (tmp_path / name).mkdir()
    made = Host(tmp_path / "root", tmp_path / "home")
    yield made
    made.sensor.stop()
    made.host.close()


def ports(told: list[Sighting]) -> list[int]:
    """Return which failed logins were told, by their port."""
    return [
        int(getattr(seen.subject.value, "remote_port", -1))
        for seen in told
        if isinstance(seen, Observation) and seen.kind is ObservationKind.LOGIN
    ]


def messages(told: list[Sighting]) -> list[str]:
    return [
        seen.subject.value.message
        for seen in told
        if isinstance(seen, Observation) and isinstance(seen.subject.value, LogLine)
    ]


def touch(host: Host, log: Path) -> None:
    log.touch()
    os.utime(log, ns=(host.clock.wall, host.clock.wall))


def fail(host: Host, *numbers: int) -> None:
    for number in numbers:
        host.journal.write(FAILED.format(number))


def test_logins_and_lines_come_as_they_are_written_with_their_exact_time(host: Host) -> None:
    fail(host, 1)
    host.start()
    first = host.take(1)
    host.journal.write("job 1", "cron")
    fail(host, 2)

    rest = host.take(2)

    assert ports(first + rest) == [1, 2]
    assert messages(rest) == ["job 1"]
    assert isinstance(first[0], Observation)
    assert first[0].event_time == 1_790_000_000_000_001_000
    assert host.sensor.health().state is HealthState.OK
    assert len(host.sensor.descriptors()) == 2


def test_a_restart_tells_every_entry_once(host: Host) -> None:
    fail(host, 1, 2, 3)
    host.start()
    first = host.take(3)
    sealed = host.sensor.cursor()
    fail(host, 4, 5)
    unsealed = host.take(2)

    host.start(sealed)
    again = host.take(2)

    assert ports(first) == [1, 2, 3]
    assert ports(unsealed) == ports(again) == [4, 5]
    assert drops_of(again) == []


def test_a_place_that_was_vacuumed_is_a_gap_and_nothing_that_is_left_is_skipped(host: Host) -> None:
    fail(host, 1, 2)
    host.start()
    host.take(2)
    sealed = host.sensor.cursor()
    host.sensor.stop()
    fail(host, 3, 4, 5)
    host.journal.vacuum(3)

    host.start(sealed)
    told = host.until(lambda told: len(ports(told)) == 2)

    assert ports(told) == [4, 5]
    (drop,) = drops_of(told)
    assert drop.reason is DropReason.SOURCE_GAP
    assert drop.detail == "the place we were at is gone from the journal: vacuumed or lost"


def test_at_the_first_start_only_the_newest_entries_are_read(host: Host) -> None:
    fail(host, *range(1, 9))
    host.settings = JournalSettings(history_entries_max=3)

    host.start()

    assert ports(host.take(3)) == [6, 7, 8]


def test_a_reader_that_ends_is_started_again_after_a_wait_and_goes_on(host: Host) -> None:
    fail(host, 1)
    host.start()
    host.take(1)
    host.journal.stop(3)
    host.until(lambda _: host.sensor.descriptors() == ())
    problem = host.sensor.health()
    due = host.sensor.due()
    host.journal.mend()
    fail(host, 2)
    early = host.poll()
    runs = len(host.journal.runs())

    host.clock.forward(2)

    assert (problem.state, problem.reason.partition(";")[0]) == (
        HealthState.DEGRADED,
        "the reader of the journal ended with status 3",
    )
    assert due is not None
    assert host.clock.boot_ns() > due > host.clock.boot_ns() - 2 * NS_PER_S
    assert (early, runs) == ([], 1)
    assert ports(host.take(1)) == [2]
    assert host.sensor.health().state is HealthState.OK


def test_waits_grow_while_it_ends_at_once(host: Host) -> None:
    host.journal.stop(1)
    host.start()
    waits: list[int] = []
    for _ in range(12):
        host.until(lambda _: host.sensor.descriptors() == () and bool(host.sensor.due()))
        due = host.sensor.due() or 0
        waits.append(due - host.clock.boot_ns())
        host.clock.forward(301)
        host.poll()

    assert max(waits) <= 60 * NS_PER_S
    assert len(host.journal.runs()) <= 13


def test_words_that_are_no_entries_end_the_reader_and_nothing_is_lost(host: Host) -> None:
    fail(host, 1)
    host.start()
    host.take(1)
    host.journal.utter(b"no such field\n\n")
    host.until(lambda _: host.sensor.descriptors() == ())
    reason = host.sensor.health().reason
    fail(host, 2)
    host.clock.forward(2)

    assert "cannot be understood: a field has no name" in reason
    assert ports(host.take(1)) == [2]


def test_a_message_that_is_binary_or_long_is_text_and_cut(host: Host) -> None:
    host.journal.write("two\nlines\0\xff", "x")
    host.journal.write("y" * 100_000, "x")
    host.start()

    told = host.until(lambda told: len(messages(told)) == 2 and bool(drops_of(told)))

    binary, long = messages(told)
    assert binary == "two\nlines\0\\xff"
    assert (len(long), long[-5:]) == (2048, "[cut]")
    assert [(drop.reason, drop.count) for drop in drops_of(told)] == [(DropReason.OVERFLOW, 1)]


def test_nobody_else_can_write_a_login_in_the_name_of_sshd(host: Host) -> None:
    host.journal.write(FAILED.format(1), _UID="1000", _EXE="/home/x/sshd")
    host.journal.write(FAILED.format(2), _UID="1000", _EXE="/usr/bin/sshd")
    host.journal.write(FAILED.format(3), _UID="1000", _EXE="/usr/bin/logger")
    fail(host, 4)
    host.start()

    assert ports(host.take(2)) == [2, 4]


def test_what_somebody_may_have_typed_does_not_leave_as_a_line(host: Host) -> None:
    host.journal.write("Invalid user hunter2 from 203.0.113.9 port 1")
    host.journal.write("x hunter2", "other", SYSLOG_FACILITY="10")
    host.journal.write("plain", "other", SYSLOG_FACILITY="3")
    host.start()

    assert messages(host.take(1)) == ["plain"]
    host.settings = JournalSettings(lines=False)
    fail(host, 5)
    host.start()
    assert messages(host.until(lambda told: ports(told) == [5])) == []


def test_what_journald_suppressed_is_a_loss(host: Host) -> None:
    host.journal.write("Suppressed 123 messages from app.service", "systemd-journald")
    host.start()

    (drop,) = drops_of(host.until(lambda told: bool(drops_of(told))))

    assert (drop.reason, drop.count, drop.detail) == (
        DropReason.OVERFLOW,
        123,
        "journald suppressed messages",
    )


def test_a_flood_is_told_in_bounded_returns_and_whole(host: Host) -> None:
    for number in range(3000):
        host.journal.entries.append(
            {"__CURSOR": f"s={'a' * 32};i={number + 1:x};b={'b' * 32}"}
            | {"_UID": "0", "SYSLOG_IDENTIFIER": "app", "MESSAGE": f"line {number}"}
        )
    host.journal.count = 3000
    host.journal.write("last", "app")
    host.settings = JournalSettings(history_entries_max=100_000)
    host.start()

    told = messages(host.until(lambda told: messages(told[-1:]) == ["last"]))

    assert told == [*(f"line {number}" for number in range(3000)), "last"]


def test_a_slice_that_is_over_takes_little_and_the_rest_comes_later(host: Host) -> None:
    fail(host, *range(1, 200))
    host.settings = JournalSettings(lines=False)
    host.start()
    end = time.monotonic() + WAIT_S
    told: list[Sighting] = []
    while len(ports(told)) < 199 and time.monotonic() < end:
        told += host.sensor.poll(0)

    assert ports(told) == list(range(1, 200))


def test_by_default_the_journal_is_read_where_the_host_has_no_auth_log(host: Host) -> None:
    fail(host, 1)
    log = host.root / "var/log/auth.log"
    touch(host, log)
    host.start()
    first = host.poll()
    off = host.sensor.health()
    log.unlink()
    host.clock.forward(61)
    told = host.take(1)
    touch(host, log)
    host.clock.forward(61)
    host.poll()

    assert first == []
    assert (off.state, off.reason, off.rung) == (
        HealthState.OK,
        "not read: the host has an auth log",
        "off",
    )
    assert ports(told) == [1]
    assert host.sensor.descriptors() == ()
    assert len(host.journal.runs()) == 1


def test_always_is_always_and_never_is_never(host: Host) -> None:
    touch(host, host.root / "var/log/auth.log")
    fail(host, 1)
    host.settings = JournalSettings(read="always")
    host.start()
    told = host.take(1)
    host.settings = JournalSettings(read="never")
    host.start()

    assert ports(told) == [1]
    assert host.poll() == []
    assert host.sensor.health().reason == "not read: the settings say so"


def test_without_a_journal_there_is_no_child(host: Host) -> None:
    (host.root / "var/log/journal" / MACHINE).rmdir()

    host.start()
    told = host.poll()

    assert told == []
    assert host.journal.runs() == []
    assert (host.sensor.health().state, host.sensor.health().reason) == (
        HealthState.BLIND,
        "no journal here",
    )
    assert host.sensor.due() is not None
    assert (host.sensor.due() or 0) % (60 * NS_PER_S) == 0


def test_without_the_program_the_sensor_is_blind_and_one_that_does_not_start_is_tried_again(
    host: Host,
) -> None:
    host.program = ""
    host.start()
    host.poll()
    without = host.sensor.health()
    host.program = str(host.root / "none")
    host.start()
    host.poll()

    assert (without.state, without.reason) == (HealthState.BLIND, "there is no journalctl here")
    assert host.sensor.health().state is HealthState.DEGRADED
    assert "cannot be started: No such file" in host.sensor.health().reason


def test_a_reader_without_rights_is_degraded_in_words_that_help(host: Host) -> None:
    host.journal.complain("Hint: You are currently not seeing messages from other users\n")
    fail(host, 1)
    host.start()
    host.take(1)
    host.until(lambda _: host.sensor.health().state is HealthState.DEGRADED)

    assert "grant the group systemd-journal" in host.sensor.health().reason


def test_a_journal_of_a_host_that_is_mounted_is_read_where_it_lies(host: Host) -> None:
    fail(host, 1)
    host.start()
    host.take(1)

    assert f"--directory={host.root}/var/log/journal" in host.journal.runs()[0]


def test_a_stop_ends_the_child_and_keeps_the_cursor(host: Host) -> None:
    fail(host, 1)
    host.start()
    host.take(1)
    before = host.sensor.cursor()

    host.sensor.stop()
    host.sensor.stop()

    assert host.sensor.cursor() == before
    assert decode_cursor(before)["place"].startswith(b"s=aaaa")
    assert (host.sensor.poll(0), host.sensor.due(), list(host.sensor.descriptors())) == (
        (),
        None,
        [],
    )
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=80))
def test_any_cursor_starts(tmp_path_factory: pytest.TempPathFactory, cursor: bytes) -> None:
    with HostRoot(tmp_path_factory.getbasetemp()) as host:
        sensor = JournalSensor(JournalSettings(), host, FakeClock())
        sensor.start(cursor)
        sensor.poll(0)
        sensor.stop()


# ---------------------------------------------------------------------- the real program


def a_real_journal(home: Path, name: str, entries: bytes, root: Path) -> None:
    """Make a journal of entries in the export format, with systemd's own writer."""
    (home / name).mkdir(parents=True, exist_ok=True)
    (home / "in.export").write_bytes(entries)
    writer = next(root.rglob("lib/systemd/systemd-journal-remote"))
    done = subprocess.run(
        [writer, "-o", home / name / "system.journal", home / "in.export"],
        env=libraries(root),
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )
    if done.returncode != 0:
        pytest.skip(f"systemd-journal-remote does not run here: {done.stderr[-200:]!r}")


@pytest.mark.slow
def test_the_real_program_reads_a_real_journal_by_its_cursor(
    host: Host, pytestconfig: pytest.Config
) -> None:
    if not program():
        pytest.skip("there is no journalctl here")
    cache = pytestconfig.cache
    assert cache is not None
    root = extracted(cache.mkdir("debian"), "systemd-journal-remote", "libmicrohttpd12")
    entries = b"".join(
        exported(
            {
                "__REALTIME_TIMESTAMP": b"%d" % (1_790_000_000_000_000 + number),
                "__MONOTONIC_TIMESTAMP": b"%d" % number,
                "_BOOT_ID": b"%032x" % 7,
                "_UID": b"0",
                "SYSLOG_IDENTIFIER": b"sshd",
                "MESSAGE": FAILED.format(number).encode() if number < 5 else b"two\nlines\xff",
            }
        )
        for number in range(1, 6)
    )
    a_real_journal(host.root / "var/log/journal", MACHINE, entries, root)
    host.program = program()
    host.settings = JournalSettings(history_entries_max=3)
    host.start()
    first = host.until(lambda told: len(ports(told)) >= 2)
    sealed = host.sensor.cursor()
    host.settings = JournalSettings()
    host.start()
    whole = host.until(lambda told: len(ports(told)) >= 4)
    host.start(sealed)
    end = time.monotonic() + 1
    again: list[Sighting] = []
    while time.monotonic() < end:
        again += host.poll()
        time.sleep(0.01)

    assert ports(first) == [3, 4]
    assert ports(whole) == [1, 2, 3, 4]
    assert isinstance(whole[0], Observation)
    assert whole[0].event_time == 1_790_000_000_000_001_000
    assert getattr(whole[0].subject.value, "user", None) == User(name="root")
    assert [seen for seen in again if isinstance(seen, Drop)] == []
    assert ports(again) == []
