"""Inflates rotated logs that were compressed while we were away, in a worker without rights.

What a worker gives is kept in memory of its own that no process maps, one file at a time, bounded;
it is then read as any rotated file is: our place in it is known by what stands before it.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from agent.errors import InspectionFailed
from agent.hostroot import HostFileError, HostRoot
from agent.inspectframes import Data, Done, Gunzip
from agent.sense.inspector import Found, Inspector, Ticket

INFLATED_BYTES_MAX: Final = 64 * 1024 * 1024


class Packed(Struct, frozen=True):
    """A compressed rotation and when what it holds was last written to."""

    path: bytes
    written: int


class Wanting(Protocol):
    """A log that waits for what some compressed rotations hold."""

    @property
    def packed(self) -> Sequence[Packed]:
        """Return what is waited for, the next one first."""
        ...

    def take_unpacked(self, fd: int) -> None:
        """Take what the next one holds, as an open file; -1 where it cannot be had."""
        ...


class Unpacker:
    """Serves logs one after the other.

    Args:
        host: opens the files.
        inspector: our own, for the worker.
    """

    def __init__(self, host: HostRoot, inspector: Inspector) -> None:
        self._host = host
        self._inspector = inspector
        self._asking: Wanting | None = None
        self._ticket: Ticket | None = None
        self._fd = -1

    def descriptors(self) -> Sequence[int]:
        """Return what to watch for reading."""
        return self._inspector.descriptors()

    def due(self) -> int | None:
        """Return the boot-clock nanoseconds at which `work` is wanted; None to wait for data."""
        return self._inspector.due()

    def work(self, logs: Iterable[Wanting]) -> None:
        """Go on for the first of the logs that waits; never waits itself."""
        if self._asking is None:
            log = next((log for log in logs if log.packed), None)
            if log is not None:
                self._ask(log)
        for found in self._inspector.poll():
            self._take(found)

    def stop(self) -> None:
        """Forget what is being done and end the worker."""
        if self._fd >= 0:
            os.close(self._fd)
        self._asking, self._ticket, self._fd = None, None, -1
        self._inspector.stop()

    def _ask(self, log: Wanting) -> None:
        packed = log.packed[0]
        self._asking = log
        try:
            fd = self._host.open_file(packed.path)
        except HostFileError:
            self._end(is_whole=False)
            return
        try:
            self._fd = os.memfd_create("log", os.MFD_CLOEXEC)
            wanted = Gunzip(size_bytes_max=INFLATED_BYTES_MAX)
            self._ticket = self._inspector.submit(wanted, fd)
        except (InspectionFailed, OSError):
            self._end(is_whole=False)
        finally:
            os.close(fd)

    def _take(self, found: Found) -> None:
        if self._asking is None or found.ticket != self._ticket:
            return
        if isinstance(found.answer, Data):
            try:
                os.pwrite(self._fd, found.answer.data, found.answer.offset)
            except OSError:
                self._inspector.cancel(found.ticket)
                self._end(is_whole=False)
            return
        self._end(is_whole=isinstance(found.answer, Done) and found.answer.is_end)

    def _end(self, *, is_whole: bool) -> None:
        """Hand over what there is, if it is all."""
        log, fd = self._asking, self._fd
        self._asking, self._ticket, self._fd = None, None, -1
        if not is_whole and fd >= 0:
            os.close(fd)
        if log is not None:
            log.take_unpacked(fd if is_whole else -1)
