import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.commands import run
from runtime.files import FileLock, is_locked
from tests.collector.shell import Shell

WAIT_S = 30
ROLES = ("issuer", "gate", "work", "web")
ADDRESSES = """
[gateway]
intake_address = "127.0.0.1:0"
enrollment_address = "127.0.0.1:0"
[console]
address = "127.0.0.1:0"
"""


def a_child(shell: Shell, *argv: str, **env: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "collector", "run", *argv, "--config", str(shell.config)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **env}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)


@contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """What systemd would be to the daemon."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(WAIT_S)
        yield listener


def ended(child: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> int:
    child.send_signal(number)
    child.communicate(timeout=WAIT_S)
    return child.returncode


def descendants(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(word) for word in text.split()]


def test_where_nothing_was_set_up_that_is_said_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)

    codes = shell.run("run"), shell.run("run", "--role", "work")

    err = capsys.readouterr().err
    assert codes == (4, 4)
    assert err.count(f"there is no collector in {shell.state}") == 2
    assert "vedette-collector init" in err
    assert not shell.state.exists()


def test_a_collector_that_runs_is_not_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.init()
    lock = FileLock(shell.state / "collector.lock")
    lock.acquire()

    code = shell.run("run")

    lock.release()
    assert code == 7
    assert "another process holds" in capsys.readouterr().err


@pytest.mark.parametrize("role", ROLES)
def test_of_each_role_there_is_one_process(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    role: str,
) -> None:
    monkeypatch.setattr(run, "LOCK_WAIT_S_MAX", 0)
    shell = Shell(tmp_path)
    shell.init()
    lock = FileLock(shell.state / f"{role}.lock")
    lock.acquire()

    code = shell.run("run", "--role", role)

    lock.release()
    assert code == 7
    assert f"{role}.lock" in capsys.readouterr().err


def test_a_predecessor_on_its_way_out_is_waited_for(tmp_path: Path) -> None:
    """A supervisor that was killed and started anew finds children that have not died yet."""
    shell = Shell(tmp_path, ADDRESSES)
    shell.init()
    lock = FileLock(shell.state / "work.lock")
    lock.acquire()

    with listening(tmp_path) as listener:
        child = a_child(shell, "--role", "work", NOTIFY_SOCKET=str(tmp_path / "notify"))
        time.sleep(1.5)
        alive = child.poll() is None
        lock.release()
        told = listener.recv(4096)
    code = ended(child)

    assert alive
    assert told == b"READY=1"
    assert code == 0
    assert not is_locked(shell.state / "work.lock")


def test_a_bad_configuration_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.init()
    shell.configure("[work]\nthreads = 4\n")

    assert shell.run("run") == 4
    assert f"{shell.config}: work" in capsys.readouterr().err


@pytest.mark.slow
def test_four_processes_run_until_a_signal_and_none_outlives_their_supervisor(
    tmp_path: Path,
) -> None:
    shell = Shell(tmp_path, ADDRESSES)
    shell.init()
    with listening(tmp_path) as listener:
        child = a_child(shell, NOTIFY_SOCKET=str(tmp_path / "notify"))
        while listener.recv(4096) != b"READY=1":
            pass
        running = descendants(child.pid)
        held = [role for role in ROLES if is_locked(shell.state / f"{role}.lock")]

        code = ended(child)

        child = a_child(shell, NOTIFY_SOCKET=str(tmp_path / "notify"))
        while listener.recv(4096) != b"READY=1":
            pass
        orphans = descendants(child.pid)
        killed = ended(child, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_S
    while any(is_locked(shell.state / f"{role}.lock") for role in ROLES):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert (len(running), len(orphans)) == (4, 4)
    assert held == list(ROLES)
    assert (code, killed) == (0, -signal.SIGKILL)
