"""Several logs are read in turn, in slices; what is left is read later and said to be behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, Sighting
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.logset import (
    BEHIND_BYTES_MAX,
    LogSet,
    Reading,
    decode_cursor,
    encode_cursor,
)
from proto.model import Drop, DropReason, HealthState
from runtime.clock import NS_PER_S
from tests.fakes.clock import FakeClock


class Host:
    """A host with a directory of logs, and a set on it that tells each line as a record."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.host = HostRoot(root)
        self.set = LogSet("logs", self.host, self.clock, 1 << 20)

    def read(self, path: str, line: Line) -> list[Sighting]:
        return [Drop(reason=DropReason.OVERFLOW, sensor=path, detail=line.text.decode()[:20])]

    def poll(self, slice_ns: int = NS_PER_S) -> list[str]:
        told = self.set.poll(self.clock.boot_ns() + slice_ns, Reading(self.read, 1))
        assert len(told) <= POLL_SIGHTINGS_MAX
        return [f"{x.sensor} {x.detail}" for x in told if isinstance(x, Drop)]

    def append(self, name: str, text: str) -> None:
        with (self.root / name).open("a", encoding="ascii") as file:
            file.write(text)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.set.stop()
    made.host.close()


def test_each_log_is_read_from_its_own_place(host: Host) -> None:
    host.append("a", "one\n")
    host.append("b", "two\n")
    host.set.start(["/a", "/b"], {})
    first = host.poll()
    cursors = host.set.cursors()
    host.append("b", "three\n")

    host.set.start(["/a", "/b"], cursors)

    assert first == ["/a one", "/b two"]
    assert host.poll() == ["/b three"]


def test_a_flood_in_one_log_does_not_starve_another(host: Host) -> None:
    host.append("a", "".join(f"line {n}\n" for n in range(5000)))
    host.append("b", "quiet\n")
    host.set.start(["/a", "/b"], {})

    first, second = host.poll(), host.poll()

    assert {line.split()[0] for line in first} == {"/a"}
    assert second[0] == "/b quiet"


def test_a_slice_ends_at_its_deadline_and_what_is_left_is_due_at_once(host: Host) -> None:
    host.append("a", "".join(f"line {n}\n" for n in range(5000)))
    host.set.start(["/a"], {})

    lines = host.poll(slice_ns=0)

    assert 0 < len(lines) <= 256
    assert host.set.due() == 0


def test_it_is_said_how_far_behind_we_are(host: Host) -> None:
    host.set.start(["/a"], {})
    host.append("a", "x" * 99 + "\n")
    host.poll()
    with (host.root / "a").open("ab") as file:
        for _ in range(BEHIND_BYTES_MAX // 100_000 + 2):
            file.write((b"x" * 99 + b"\n") * 1000)

    host.poll()
    behind = host.set.state()
    while host.set.due() == 0:
        host.poll()

    assert behind[0] is HealthState.DEGRADED
    assert behind[1].endswith("MiB behind")
    assert host.set.state() == (HealthState.OK, "")


def test_an_idle_set_is_due_when_others_are_too(host: Host) -> None:
    host.append("a", "one\n")
    host.set.start(["/a"], {})
    host.poll()
    due = host.set.due()

    assert due is not None
    assert due % (60 * NS_PER_S) == 0
    assert host.set.rung == "inotify"


def test_without_any_log_the_set_is_blind_and_says_so_in_few_words(host: Host) -> None:
    before = host.set.state()
    host.set.start([], {})
    none = host.set.state()
    host.set.start(["/a"], {})

    assert before == (HealthState.BLIND, "not started")
    assert none == (HealthState.BLIND, "no such log here")
    assert host.set.state() == (HealthState.BLIND, "no such log here; /a: no such file")


def test_a_log_that_is_refused_is_degraded_beside_one_that_is_read(host: Host) -> None:
    host.append("a", "one\n")
    os.mkfifo(host.root / "b")
    host.set.start(["/a", "/b", "/c"], {})
    host.poll()

    state, reason = host.set.state()

    assert state is HealthState.DEGRADED
    assert "/b: " in reason


def test_a_gap_and_lines_that_were_cut_are_records(host: Host) -> None:
    host.append("a", "one\n")
    host.set.start(["/a"], {})
    host.poll()
    os.truncate(host.root / "a", 0)
    host.append("a", "x" * (1 << 20) + "\n" + "y" * (1 << 20) + "\n")

    told = host.poll() + host.poll()

    assert "logs /a: truncated: what was written just before is lost" in told
    assert "logs lines over 64 KiB were cut" in told
    assert host.set.gaps == 3


def test_a_log_that_joins_later_is_read_from_its_beginning_and_one_that_leaves_is_closed(
    host: Host,
) -> None:
    host.append("a", "one\n")
    host.set.start(["/a"], {})
    host.poll()
    host.append("b", "x" * (2 << 20) + "\ntwo\n")

    host.set.follow(["/b"])

    assert host.poll()[-2:] == ["/b two", "logs lines over 64 KiB were cut"]
    assert list(host.set.cursors()) == ["/b"]
    host.append("b", "three\n")
    assert host.set.descriptors() != ()
    assert host.poll() == ["/b three"]


def test_a_stopped_set_asks_for_nothing(host: Host) -> None:
    host.set.start(["/a"], {})
    host.set.stop()
    host.set.stop()

    assert (host.set.due(), host.set.descriptors()) == (None, ())


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=20), max_size=9))
def test_a_cursor_comes_back_as_it_was(cursors: dict[str, bytes]) -> None:
    assert decode_cursor(encode_cursor(cursors)) == cursors


@given(st.binary(max_size=60))
def test_any_bytes_are_a_cursor_or_none(data: bytes) -> None:
    assert isinstance(decode_cursor(data), dict)
