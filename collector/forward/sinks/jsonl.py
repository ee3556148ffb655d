"""A file of JSON Lines, synced after every payload: on disk is confirmed.

The file is opened for every payload, so it may be moved away at any time. A write that fails
half-way is taken back; after a crash in the middle of one, the torn line ends where the next
payload begins and the events in it are there again, whole.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from collector.forward.document import document
from collector.forward.errors import SinkUnavailable
from collector.forward.event import Event
from collector.forward.ports import Sent
from collector.forward.settings import JsonlDestination
from collector.forward.states import State
from runtime.clock import Clock
from runtime.files import fsync_dir

_ENCODER = msgspec.json.Encoder()


class JsonlSink:
    """Appends to one file.

    Args:
        destination: its path.
        clock: not needed here; every sink gets one.
    """

    in_flight_max = 1
    ask_wait_s = 1.0
    degraded = ""

    def __init__(self, destination: JsonlDestination, clock: Clock) -> None:
        del clock
        self._path = Path(destination.path)

    def encode(self, event: Event, now: int) -> bytes:
        """Return one event as a line."""
        return _ENCODER.encode(document(event, now)) + b"\n"

    def pack(self, encoded: Sequence[bytes]) -> bytes:
        """Return the lines one after the other."""
        return b"".join(encoded)

    async def send(self, payload: bytes) -> Sent:
        """Append and sync.

        Raises:
            SinkUnavailable: the file cannot be written now, for example on a full disk.
        """
        try:
            await asyncio.to_thread(_append, self._path, payload)
        except OSError as error:
            raise SinkUnavailable(f"cannot write {self._path}: {error.strerror}") from error
        return Sent(State.CONFIRMED)

    async def ask(self, tokens: Sequence[int]) -> Mapping[int, State]:
        """Return nothing: no payload is ever left open."""
        del tokens
        return {}

    async def close(self) -> None:
        """Do nothing: nothing is held open."""


def _append(path: Path, payload: bytes) -> None:
    is_new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        size = os.fstat(fd).st_size
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        try:
            _write_all(fd, b"\n" + payload if torn else payload)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    if is_new:
        fsync_dir(path.parent)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
