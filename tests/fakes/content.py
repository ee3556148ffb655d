"""The other ends of content: a mirror that a test can spoil, and children of every kind."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from agent.doorframes import CHUNK_BYTES_MAX, Chunk, Fetch
from agent.sense import tufclient
from agent.sense.tufframes import Job
from proto.content.names import MISSING

Meddle = Callable[[str, bytes], bytes | None]


def honest(_name: str, data: bytes) -> bytes:
    return data


class FakeMirror:
    """Answers what `sense` asks `ship` for, from a published directory."""

    def __init__(self, directory: Path, meddle: Meddle = honest) -> None:
        self.directory = directory
        self.meddle = meddle
        self.piece_bytes = CHUNK_BYTES_MAX
        self.asked: list[Fetch] = []
        self._waiting: list[Fetch] = []

    def send(self, fetch: Fetch) -> None:
        self.asked.append(fetch)
        self._waiting.append(fetch)

    def answers(self) -> list[Chunk]:
        waiting, self._waiting = self._waiting, []
        return [self._answer(fetch) for fetch in waiting]

    def _answer(self, fetch: Fetch) -> Chunk:
        path = self.directory / fetch.name
        data = self.meddle(fetch.name, path.read_bytes()) if path.is_file() else None
        if data is None:
            return Chunk(fetch.id, b"", 0, MISSING)
        piece = data[fetch.offset : fetch.offset + self.piece_bytes]
        return Chunk(fetch.id, piece, len(data))


class ThreadChild:
    """A child without a process: what it would do, in a thread of the test."""

    def __init__(self, stdin: int, script: Callable[[int], None]) -> None:
        self._fd = os.dup(stdin)
        self._thread = threading.Thread(target=self._run, args=(script,), daemon=True)
        self.kills = 0
        self._thread.start()

    def _run(self, script: Callable[[int], None]) -> None:
        try:
            script(self._fd)
        except OSError:
            pass  # sense has gone: a real child would end with it
        finally:
            os.close(self._fd)

    def kill(self) -> None:
        self.kills += 1

    def wait(self) -> int:
        self._thread.join(10)
        return 0


def honest_child(stdin: int) -> ThreadChild:
    """The real workflow, without the confinement of a process."""

    def script(fd: int) -> None:
        line = tufclient.Line(fd)
        job = line.receive()
        assert isinstance(job, Job)
        line.send(tufclient.run(job, line))

    return ThreadChild(stdin, script)


def scripted_child(script: Callable[[tufclient.Line], object]) -> Callable[[int], ThreadChild]:
    """A child that takes its job and then does what a test says."""

    def spawn(stdin: int) -> ThreadChild:
        def run(fd: int) -> None:
            line = tufclient.Line(fd)
            line.receive()
            script(line)

        return ThreadChild(stdin, run)

    return spawn
