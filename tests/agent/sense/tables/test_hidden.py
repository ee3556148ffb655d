"""What lives and is not in the list is told; what comes, goes or is a thread is not."""

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.tables import hidden
from agent.sense.tables.live import counts_with
from tests.agent.sense.tables.views import looking_at, shown, write


class FakeViews:
    """A host whose list leaves out what a test hides."""

    def __init__(self, alive: set[int], hides: set[int], groups: Iterable[int] = ()) -> None:
        self.alive = alive
        self.hides = hides
        self.groups = groups
        self.thread_ids: set[int] = set()
        self.comes: set[int] = set()
        self.goes: set[int] = set()
        self.looks = 0

    def listed(self) -> set[int]:
        self.looks += 1
        if self.looks == 2:
            self.alive = (self.alive | self.comes) - self.goes
        return self.alive - self.hides - self.thread_ids

    def is_alive(self, number: int) -> bool:
        return number in self.alive or (self.looks == 1 and number in self.comes)

    def grouped(self) -> Iterable[int]:
        return self.groups

    def threads(self, listed: set[int]) -> set[int]:
        return self.thread_ids


def test_a_process_that_the_list_leaves_out_is_told_with_who_knows_it() -> None:
    views = FakeViews({1, 5, 9}, {5, 9}, groups=[1, 9])

    assert hidden.hidden_pids(views, 20) == [(5, ["scheduler"]), (9, ["scheduler", "cgroup"])]


def test_a_number_beyond_the_last_is_known_by_its_group_alone() -> None:
    assert hidden.hidden_pids(FakeViews({1, 50}, {50}, groups=[50]), 20) == [(50, ["cgroup"])]


def test_what_comes_and_goes_meanwhile_is_not_hidden() -> None:
    views = FakeViews({1, 2, 3}, set(), groups=[3, 7])
    views.comes, views.goes = {7}, {3}

    assert hidden.hidden_pids(views, 20) == []


def test_a_thread_is_no_hidden_process() -> None:
    views = FakeViews({1, 2}, set())
    views.thread_ids = {2}

    assert hidden.hidden_pids(views, 20) == []


def test_what_can_be_read_of_a_hidden_process_is_told_and_a_late_thread_is_not(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        {
            "proc/55/status": "Name:\tkworker\nTgid:\t55\n",
            "proc/55/exe": "->/tmp/x",
            "proc/56/status": "Name:\tquiet\nTgid:\t56\n",
            "proc/57/status": "Name:\tthread\nTgid:\t1\n",
        },
    )
    found = [(pid, ["scheduler"]) for pid in (55, 56, 57, 58)]

    rows = list(hidden.described(looking_at(tmp_path), found))

    assert [(row["pid"], row["name"], row["exe"]) for row in rows] == [
        (55, "kworker", "/tmp/x"),
        (56, "quiet", None),
        (58, None, None),
    ]


def test_another_hosts_processes_are_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    looking = looking_at(tmp_path)

    assert shown(hidden.TABLE, looking) == []
    assert looking.problems


@pytest.mark.root
def test_this_host_with_threads_hides_nothing() -> None:
    if not counts_with(HostRoot("/")):
        pytest.skip("the process numbers here are not the host's")
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(8)]
    for thread in threads:
        thread.start()

    rows = shown(hidden.TABLE, looking_at(Path("/")))
    done.set()
    for thread in threads:
        thread.join()

    assert rows == []


@given(st.binary(max_size=200))
def test_any_bytes_are_a_status_and_numbers(data: bytes) -> None:
    tgid, name = hidden.parse_status(data)
    assert tgid is None or tgid >= 0
    assert name is None or len(name) <= 1024
    assert all(pid > 0 for pid in hidden.parse_procs(data))
