"""A worker seen from `sense`: how one is reached, told and ended.

Where the socket unit of the workers is, a connection to it starts one under its own user. Without
systemd a worker is a child of ours. Both are shut in by the same filter before they read anything.
"""

import contextlib
import os
import socket
import struct
import subprocess  # noqa: TID251  (the worker, of a constant argument vector)
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from agent.errors import FailReason, InspectionFailed
from agent.inspectframes import MESSAGE_BYTES_MAX, Answer, Request, decode_answer, encode

SOCKET: Final = Path("/run/vedette-inspect/inspect.sock")

_CREDENTIALS: Final = struct.Struct("=3i")
_ROOT: Final = 0  # systemd binds the socket


class Child(Protocol):
    """A process we started."""

    def kill(self) -> None:
        """End it at once; harmless when it has ended."""
        ...

    def poll(self) -> int | None:
        """Return its exit status; None while it has not ended."""
        ...


Spawn = Callable[[int], Child]


def spawn_worker(stdin: int) -> Child:
    """Start a worker with a socket as its standard input.

    It gets nothing else of ours: no environment, no descriptor, and no module from the current
    directory.

    Raises:
        OSError: it cannot be started.
    """
    package = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "agent", "inspect"],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": str(package), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        close_fds=True,
        start_new_session=True,
    )


class WorkerLine:
    """A line to one worker; never waits.

    Args:
        path: the socket of the unit.
        spawn: starts a child where that is not there.

    Raises:
        InspectionFailed: no worker can be had.
    """

    def __init__(self, path: Path = SOCKET, spawn: Spawn = spawn_worker) -> None:
        self._child: Child | None = None
        try:
            self._socket = _connected(path) or self._spawned(spawn)
        except OSError as error:
            text = f"no worker can be started: {error.strerror}"
            raise InspectionFailed(text, FailReason.GONE) from error

    def fileno(self) -> int:
        """Return the descriptor that is readable when the worker says something."""
        return self._socket.fileno()

    def ask(self, request: Request, descriptor: int) -> None:
        """Send a request with the file it is about.

        Raises:
            InspectionFailed: the worker has gone, or takes nothing.
        """
        try:
            socket.send_fds(self._socket, [encode(request)], [descriptor], socket.MSG_NOSIGNAL)
        except OSError as error:
            raise InspectionFailed(f"the worker: {error.strerror}", FailReason.GONE) from error

    def hear(self) -> Answer | None:
        """Return what the worker says next; None when it says nothing yet.

        Raises:
            InspectionFailed: it has gone, or says what no worker says.
        """
        try:
            # A descriptor that comes along is closed by the kernel: there is no room for one.
            data, _, flags, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return None
        except OSError as error:
            raise InspectionFailed(f"the worker: {error.strerror}", FailReason.GONE) from error
        if not data:
            raise InspectionFailed("the worker ended", FailReason.GONE)
        if flags & socket.MSG_TRUNC:
            raise InspectionFailed("an answer is too long", FailReason.GARBAGE)
        return decode_answer(data)

    def end(self) -> None:
        """End the worker; one of a unit ends with the line, or by its own timer. Repeatable."""
        self._socket.close()
        if self._child is not None:
            self._child.kill()

    def has_ended(self) -> bool:
        """Tell whether nothing is left of it; one that waits for a disk may take its time."""
        return self._child is None or self._child.poll() is not None

    def _spawned(self, spawn: Spawn) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # noqa: FBT003  (the library's own signature)
        with theirs:
            try:
                self._child = spawn(theirs.fileno())
            except OSError:
                ours.close()
                raise
        return ours


def _connected(path: Path) -> socket.socket | None:
    """Return a line to a worker of the unit; None where there is no such unit."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    line.setblocking(False)  # noqa: FBT003  (the library's own signature)
    with contextlib.suppress(OSError):
        line.connect(os.fspath(path))
        found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(found)[1] in {_ROOT, os.geteuid()}:
            return line
    line.close()
    return None
