import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from certs.errors import KeyUnusable
from collector import roles
from collector.roles import ROLES
from collector.settings import CollectorSettings
from runtime.clock import Clock, SystemClock
from runtime.supervise import Notifier, TaskReturned, spawn
from tests.collector.shell import Shell

MODULES = {
    "issuer": "collector.issuer.server",
    "gate": "collector.gate",
    "work": "collector.work",
    "web": "collector.web",
}
ROOMS = {
    "issuer": {"collector.issuer.server"},
    "gate": {"collector.gateway.server"},
    "work": {"collector.correlate.projection", "collector.forward.forwarder"},
    "web": {"collector.console.app"},
}
# The tenants' keys are the issuer's alone: no other process even knows how to open them.
KEY_ROOMS = {"collector.issuer.vault", "collector.issuer.desk", "collector.issuer.server"}


def settings(folder: Path) -> CollectorSettings:
    return Shell(folder).settings


def until_signal(run: roles.Run, folder: Path, notifier: Notifier | None = None) -> int:
    return roles._until_signal(  # noqa: SLF001  (the roles' common part)
        run, settings(folder), SystemClock(), notifier or Notifier()
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_process_in_order_after_its_own_end(tmp_path: Path, number: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    done: list[str] = []

    async def run(
        _s: CollectorSettings, _c: Clock, stop: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        ready()
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        await stop.wait()
        done.append("cleaned up")

    code = until_signal(run, tmp_path, Notifier(theirs))

    assert (code, done) == (0, ["cleaned up"])
    assert [ours.recv(99) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]
    ours.close()
    theirs.close()


def test_what_a_task_raised_is_raised_as_itself(tmp_path: Path) -> None:
    """The exit code is the error's, though it happened in a group of tasks."""

    async def broken() -> None:
        raise KeyUnusable("the key is gone")

    async def run(
        _s: CollectorSettings, _c: Clock, stop: asyncio.Event, _ready: Callable[[], None]
    ) -> None:
        async with asyncio.TaskGroup() as group, asyncio.TaskGroup() as inner:
            spawn(inner, broken(), "broken")
            spawn(group, stop.wait(), "waiting")

    with pytest.raises(KeyUnusable, match="the key is gone"):
        until_signal(run, tmp_path)


def test_a_task_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    async def nothing() -> None:
        pass

    async def run(
        _s: CollectorSettings, _c: Clock, stop: asyncio.Event, _ready: Callable[[], None]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            spawn(group, nothing(), "short")
            await stop.wait()

    with pytest.raises(TaskReturned, match="short"):
        until_signal(run, tmp_path)


@pytest.mark.parametrize("role", ROLES)
def test_a_process_imports_only_its_own_rooms(role: str) -> None:
    program = (
        f"import sys, collector.roles, {MODULES[role]}\n"
        "print(*(name for name in sys.modules if name.startswith('collector')))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=30
    )

    loaded = set(done.stdout.decode().split())
    others = set().union(*(rooms for name, rooms in ROOMS.items() if name != role))
    if role != "issuer":
        others |= KEY_ROOMS
    assert loaded >= ROOMS[role]
    assert loaded.isdisjoint(others - ROOMS[role])


@pytest.mark.parametrize("role", ["work", "issuer"])
def test_a_role_without_its_files_says_what_is_missing(tmp_path: Path, role: str) -> None:
    with pytest.raises(Exception, match=str(tmp_path)) as caught:
        ROLES[role](settings(tmp_path), SystemClock(), Notifier(), None)

    assert not isinstance(caught.value, BaseExceptionGroup)
