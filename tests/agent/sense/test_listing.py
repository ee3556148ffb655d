import json
import os
import socket
from pathlib import Path

import pytest

from agent.hostroot import HostFileMissing, HostRoot
from agent.sense.listing import TABLES, Row, rows
from runtime.clock import SystemClock
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.fakes.clock import FakeClock


@pytest.fixture
def debian(tmp_path: Path) -> HostRoot:
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()  # so that the network is not ours
    return HostRoot(root)


def by(table: str, column: str, host: HostRoot) -> dict[object, Row]:
    return {row.get(column): row for row in rows(table, host, FakeClock())}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_json_of_the_tables_columns(table: str, debian: HostRoot) -> None:
    listed = list(rows(table, debian, FakeClock()))

    assert listed
    for row in listed:
        assert set(row) <= set(TABLES[table].columns)
        assert json.loads(json.dumps(row)) == row


def test_a_process_is_a_row(debian: HostRoot) -> None:
    assert by("processes", "pid", debian)[901] == {
        "pid": 901,
        "ppid": 900,
        "name": "sudo",
        "exe": "/usr/bin/sudo",
        "argv": ["sudo", "-u", "root", "ls"],
        "cwd": "/home/alice",
        "uid": 1000,
        "user": "alice",
        "effective_uid": 0,
        "effective_user": "root",
        "session": 900,
        "tty": "pts/0",
        "container": None,
        "unit": "session-3.scope",
        "start": 53_000_000_000,
        "caveats": [],
    }


def test_what_is_not_there_is_null_and_what_was_not_read_is_absent(debian: HostRoot) -> None:
    processes = by("processes", "pid", debian)

    assert processes[2]["exe"] is None
    assert "exe" not in processes[1300]
    assert "user" not in processes[1200]
    assert processes[1200]["uid"] == 101


def test_connections_and_listeners_are_two_tables(debian: HostRoot) -> None:
    sockets = list(rows("sockets", debian, FakeClock()))
    listening = list(rows("listening", debian, FakeClock()))

    assert {row["local_port"] for row in listening} == {22, 68}
    assert len(sockets) == 5
    assert all(row["remote_address"] is None for row in listening)


def test_a_listener_names_its_process(debian: HostRoot) -> None:
    listener = by("listening", "inode", debian)[20001]

    assert (listener["pid"], listener["name"], listener["user"], listener["unit"]) == (
        812,
        "sshd",
        "root",
        "ssh.service",
    )


def test_a_closed_connection_names_nobody(debian: HostRoot) -> None:
    closed = by("sockets", "inode", debian)[None]

    assert closed["state"] == "time_wait"
    assert "pid" not in closed


def test_this_host_is_listed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = {row["local_port"]: row for row in rows("listening", HostRoot(), SystemClock())}
        processes = {row["pid"] for row in rows("processes", HostRoot(), SystemClock())}

    assert found[port]["pid"] == os.getpid()
    assert os.getpid() in processes


def test_an_unknown_table_is_an_error_at_once(debian: HostRoot) -> None:
    with pytest.raises(KeyError):
        rows("secrets", debian, FakeClock())


def test_a_host_without_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostFileMissing):
        list(rows("processes", HostRoot(tmp_path), FakeClock()))
