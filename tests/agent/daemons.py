"""The agent's daemons as processes of their own, waited for as systemd does."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.layout import Owners, make_directories, owners
from agent.settings import PrivilegeSettings
from tests.agent.machine import Machine

READY_S = 30
STOP_S = 30
SENSE, SHIP, GROUP = "61001", "61002", "61003"


class Daemon:
    """A running ``vedette-agent`` and what it told its parent."""

    def __init__(self, process: "subprocess.Popen[str]", listener: socket.socket) -> None:
        self.process = process
        self.pid = process.pid
        self.code: int | None = None
        self.err = ""
        self._listener = listener
        self._told = ""

    def until(self, word: str) -> None:
        """Wait until it has told its parent this."""
        end = time.monotonic() + READY_S
        while word not in self._told:
            assert self.process.poll() is None, self.stop()
            assert time.monotonic() < end, f"{word!r} not in {self._told!r}"
            if select.select([self._listener], [], [], 0.1)[0]:
                self._told += self._listener.recv(4096).decode() + "\n"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code, with what it wrote in `err`."""
        if self.code is None:
            self.process.send_signal(number)
            try:
                _, self.err = self.process.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                _, self.err = self.process.communicate()
            self.code = self.process.returncode
        return self.code

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]


@contextmanager
def a_daemon(
    machine: Machine,
    command: str,
    env: Mapping[str, str] | None = None,
    *,
    user: str | None = None,
) -> Iterator[Daemon]:
    """Run a daemon while the block lasts; it is ended if it was not stopped.

    Args:
        machine: whose.
        command: its name.
        env: on top of ours.
        user: whom it is started as, in the group of ship, as a unit of systemd does.
    """
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        Path(folder).chmod(0o755)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(f"{folder}/notify")
        Path(f"{folder}/notify").chmod(0o777)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "agent", command, "--config", str(machine.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify", **(env or {})},
            user=None if user is None else int(user),
            group=None if user is None else int(GROUP),
            extra_groups=None if user is None else [],
        )
        daemon = Daemon(process, listener)
        try:
            yield daemon
        finally:
            daemon.stop()
            listener.close()


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@contextmanager
def a_split_machine() -> Iterator[Machine]:
    """An enrolled host whose halves become two users; skips where they cannot."""
    _, why = owners(PrivilegeSettings(SENSE, SHIP, GROUP))
    if why:
        pytest.skip(f"no split here: {why}")
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        Path(folder).chmod(0o755)
        machine = Machine(Path(folder)).with_golden_host().enrolled()
        machine.configure()
        text = machine.config.read_text()
        for name, value in (("sense_user", SENSE), ("ship_user", SHIP), ("ship_group", GROUP)):
            own = os.getegid() if name == "ship_group" else os.geteuid()
            text = text.replace(f'{name} = "{own}"', f'{name} = "{value}"')
        machine.config.write_text(text)
        make_directories(machine.paths, Owners(int(SENSE), int(SHIP), int(GROUP)))
        for half, uid in ((machine.sense, SENSE), (machine.ship, SHIP)):
            for path in half.iterdir():
                os.chown(path, int(uid), -1)
        yield machine
