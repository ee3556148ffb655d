"""One run of the TUF child, seen from `sense`: what it asks for goes out, what comes back goes in.

The child does the work and `sense` watches: it may ask only for names of content, one at a time and
so many in all, and has so long. Whatever it does, the run ends in a `Report` or a `ContentRefused`.
"""

import socket
import subprocess  # noqa: TID251  (the one child of sense, of a constant argument vector)
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from agent.doorframes import Chunk, Fetch
from agent.sense.tufframes import (
    MESSAGE_BYTES_MAX,
    Job,
    Refusal,
    Report,
    decode_from_child,
    encode,
)
from proto.content.errors import BadName, ContentRefused, RefuseReason
from proto.content.names import check_name
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.frames import BadFrame, FrameDecoder, encode_frame

FETCHES_MAX: Final = 1 << 16
_READ_BYTES: Final = 64 * 1024
_SEND_BUFFER_BYTES: Final = 1024 * 1024
_FLUSH_NS: Final = 5 * NS_PER_MS
_MODULE: Final = "agent.sense.tufclient"


class Child(Protocol):
    """A process we started."""

    def kill(self) -> None:
        """End it at once; harmless when it has ended."""
        ...

    def wait(self) -> int:
        """Wait until it has ended and return its exit status."""
        ...


Spawn = Callable[[int], Child]


class UpdatePace(Struct, frozen=True):
    """How long a run may take, in seconds: in all, and without any progress."""

    total_s_max: int
    idle_s_max: int


def spawn_child(stdin: int) -> Child:
    """Start the child with a socket as its standard input.

    It gets nothing else of ours: no environment, no descriptor, and no module from the current
    directory.

    Raises:
        OSError: it cannot be started.
    """
    package = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", _MODULE],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": str(package), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        close_fds=True,
        start_new_session=True,
    )


class ContentUpdate:
    """One run.

    Args:
        job: what the child is to do.
        pace: how long it has.
        clock: measures that.
    """

    def __init__(self, job: Job, pace: UpdatePace, clock: Clock) -> None:
        self._job = job
        self._pace = pace
        self._clock = clock
        self._decoder = FrameDecoder(MESSAGE_BYTES_MAX)
        self._socket: socket.socket | None = None
        self._child: Child | None = None
        self._pending = bytearray()
        self._wanted = -1
        self._fetches = 0
        self._ends_at = 0
        self._idle_at = 0
        self.result: Report | ContentRefused | None = None

    def start(self, spawn: Spawn = spawn_child) -> tuple[int, ...]:
        """Start the child and return the descriptors to watch for reading."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)  # noqa: FBT003  (the library's own signature)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._socket = ours
        now = self._clock.boot_ns()
        self._ends_at = now + self._pace.total_s_max * NS_PER_S
        self._progress()
        with theirs:
            try:
                self._child = spawn(theirs.fileno())
            except OSError as error:
                self._end(_crashed(f"the child cannot be started: {error.strerror}"))
                return ()
        self._send(encode(self._job))
        return self.descriptors()

    def descriptors(self) -> tuple[int, ...]:
        """Return what to watch for reading; empty once there is a result."""
        return () if self._socket is None else (self._socket.fileno(),)

    @property
    def deadline(self) -> int | None:
        """Boot-clock nanoseconds at which `tick` is wanted; None once there is a result."""
        if self._socket is None:
            return None
        if self._pending:
            return self._clock.boot_ns() + _FLUSH_NS
        return min(self._ends_at, self._idle_at)

    def on_child_readable(self) -> list[Fetch]:
        """Take what the child says and return the files it wants."""
        wanted: list[Fetch] = []
        try:
            for data in self._read():
                message = decode_from_child(data)
                self._progress()
                if isinstance(message, Fetch):
                    wanted.append(self._checked(message))
                else:
                    self._end(_last_word(message))
                    break
        except BadFrame as error:
            self._end(_crashed(error.message))
        except ContentRefused as error:
            self._end(error)
        return wanted if self.result is None else []

    def feed(self, chunk: Chunk) -> None:
        """Pass on a piece, if it is the one that was asked for."""
        if chunk.id != self._wanted or self._socket is None:
            return
        self._wanted = -1
        self._progress()
        self._send(encode(chunk))

    def tick(self) -> None:
        """Go on sending, and end a run that has had its time."""
        self._flush()
        now = self._clock.boot_ns()
        if self._socket is not None and now >= min(self._ends_at, self._idle_at):
            what = "stopped answering" if now < self._ends_at else "took too long"
            self._end(ContentRefused(RefuseReason.DEADLINE, f"the update {what}"))

    def stop(self, reason: str = "the agent is stopping") -> None:
        """End the run without a result of its own; harmless when it has ended."""
        if self.result is None:
            self._end(ContentRefused(RefuseReason.UNAVAILABLE, reason))

    def _checked(self, fetch: Fetch) -> Fetch:
        self._fetches += 1
        if self._wanted >= 0 or self._fetches > FETCHES_MAX:
            raise _crashed("the child asks for too much")
        try:
            check_name(fetch.name)
        except BadName as error:
            raise _crashed(error.message) from error
        self._wanted = fetch.id
        return fetch

    def _read(self) -> list[bytes]:
        if self._socket is None:
            return []
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise _crashed(f"the child has gone: {error.strerror}") from error
        if not data:
            raise _crashed("the child ended without a last word")
        return self._decoder.feed(data)

    def _send(self, payload: bytes) -> None:
        self._pending += encode_frame(payload)
        self._flush()

    def _flush(self) -> None:
        if self._socket is None or not self._pending:
            return
        try:
            sent = self._socket.send(self._pending, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            # It has gone: reading says so, and whether it left a last word.
            self._pending.clear()
            return
        del self._pending[:sent]

    def _progress(self) -> None:
        self._idle_at = self._clock.boot_ns() + self._pace.idle_s_max * NS_PER_S

    def _end(self, result: Report | ContentRefused) -> None:
        if self.result is not None:
            return
        self.result = result
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


def _last_word(message: Report | Refusal) -> Report | ContentRefused:
    if isinstance(message, Report):
        return message
    return ContentRefused(message.reason, message.message)


def _crashed(message: str) -> ContentRefused:
    return ContentRefused(RefuseReason.CRASHED, message)
