import os
import socket
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.procdir import Proc
from agent.sense.sensors.sockowners import HOLDERS_MAX, Holders, OwnerSearch
from tests.agent.sense.sensors.hosts import a_golden_host


def steps_of(search: OwnerSearch) -> int:
    steps = 0
    while not search.is_done:
        search.step()
        steps += 1
        assert steps < 100_000
    return steps


def test_the_holders_of_sockets_are_found(tmp_path: Path) -> None:
    proc = Proc(HostRoot(a_golden_host("debian12", tmp_path)))
    search = OwnerSearch(proc, [20001, 20100, 30001, 5], [])

    steps_of(search)

    assert search.found == {20001: 812, 20100: 850, 30001: 1200}


def test_who_held_one_before_is_asked_first_and_nobody_after_the_last(tmp_path: Path) -> None:
    proc = Proc(HostRoot(a_golden_host("debian12", tmp_path)))

    asked_first = OwnerSearch(proc, [30001], [99999, 1200])
    in_order = OwnerSearch(proc, [30001], [])

    assert steps_of(asked_first) == 1
    assert steps_of(in_order) > 5


def test_nothing_wanted_is_found_at_once(tmp_path: Path) -> None:
    proc = Proc(HostRoot(a_golden_host("debian12", tmp_path)))

    assert OwnerSearch(proc, [0], []).is_done


def test_a_search_in_an_empty_table_ends(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    search = OwnerSearch(Proc(HostRoot(tmp_path)), [7], [])

    assert steps_of(search) == 1
    assert search.found == {}


def test_a_socket_of_ours_is_ours() -> None:
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
        search = OwnerSearch(Proc(HostRoot()), [inode], [])
        steps_of(search)

    assert search.found == {inode: os.getpid()}


def test_holders_are_remembered_most_recent_first_and_bounded() -> None:
    holders = Holders()

    holders.add(range(HOLDERS_MAX + 10))
    holders.add([50])

    assert holders.recent()[0] == 50
    assert len(holders.recent()) == HOLDERS_MAX
    assert 9 not in holders.recent()
