"""Processes, sockets and files are rows as their sensors read them."""

import os
import socket
from pathlib import Path

import pytest

from agent.hostroot import HostFileMissing
from agent.sense.tables import activity
from agent.sense.tables.table import Row, Table
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.agent.sense.tables.views import looking_at, shown


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()  # so that the network is not ours
    return root


@pytest.mark.parametrize(
    "table", [activity.PROCESSES, activity.SOCKETS, activity.LISTENING, activity.FILES]
)
def test_a_host_fills_each(table: Table, debian: Path) -> None:
    assert shown(table, looking_at(debian))


def test_a_listener_is_no_connection(debian: Path) -> None:
    listening = shown(activity.LISTENING, looking_at(debian))
    sockets = shown(activity.SOCKETS, looking_at(debian))

    assert {row["inode"] for row in listening}.isdisjoint({row["inode"] for row in sockets})


def by(table: Table, column: str, root: Path) -> dict[object, Row]:
    return {row.get(column): row for row in shown(table, looking_at(root))}


def test_a_process_is_a_row(debian: Path) -> None:
    assert by(activity.PROCESSES, "pid", debian)[901] == {
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


def test_what_is_not_there_is_null_and_what_was_not_read_is_absent(debian: Path) -> None:
    processes = by(activity.PROCESSES, "pid", debian)

    assert processes[2]["exe"] is None
    assert "exe" not in processes[1300]
    assert "user" not in processes[1200]
    assert processes[1200]["uid"] == 101


def test_connections_and_listeners_are_two_tables(debian: Path) -> None:
    sockets = shown(activity.SOCKETS, looking_at(debian))
    listening = shown(activity.LISTENING, looking_at(debian))

    assert {row["local_port"] for row in listening} == {22, 68}
    assert len(sockets) == 5
    assert all(row["remote_address"] is None for row in listening)


def test_a_listener_names_its_process(debian: Path) -> None:
    listener = by(activity.LISTENING, "inode", debian)[20001]

    assert (listener["pid"], listener["name"], listener["user"], listener["unit"]) == (
        812,
        "sshd",
        "root",
        "ssh.service",
    )


def test_a_closed_connection_names_nobody(debian: Path) -> None:
    closed = by(activity.SOCKETS, "inode", debian)[None]

    assert closed["state"] == "time_wait"
    assert "pid" not in closed


def test_this_host_is_listed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = {row["local_port"]: row for row in shown(activity.LISTENING, looking_at(Path("/")))}
        processes = {row["pid"] for row in shown(activity.PROCESSES, looking_at(Path("/")))}

    assert found[port]["pid"] == os.getpid()
    assert os.getpid() in processes


def test_a_host_without_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostFileMissing):
        shown(activity.PROCESSES, looking_at(tmp_path))
