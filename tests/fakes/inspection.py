"""Workers that misbehave: real processes, because a process is what is killed."""

import subprocess
import sys
from pathlib import Path

from agent.inspectframes import Data, Done, Ready, encode

NO_UNIT = Path("/nonexistent/inspect.sock")

_PROGRAM = """
import os, socket, sys, time
line = socket.socket(fileno=0)
for word in sys.argv[1:]:
    if word == "wait":
        _, fds, _, _ = socket.recv_fds(line, 65536, 4)
        for fd in fds:
            os.close(fd)
    elif word == "hang":
        time.sleep(600)
    elif word == "full":
        line.setblocking(True)
    else:
        line.send(bytes.fromhex(word))
"""

READY = encode(Ready(1))
HANG, WAIT = "hang", "wait"


def worker_that(*acts: bytes | str) -> "_Spawner":
    """Return what starts a worker that says some things, waits for a request, hangs, or ends."""
    return _Spawner([act if isinstance(act, str) else act.hex() for act in acts])


class _Spawner:
    """Starts the worker and remembers each process."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self, stdin: int) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-S", "-c", _PROGRAM, *self._words], stdin=stdin)
        self.started.append(child)
        return child


def a_piece(offset: int, data: bytes) -> bytes:
    return encode(Data(offset, data))


THE_END = encode(Done(is_end=True))
