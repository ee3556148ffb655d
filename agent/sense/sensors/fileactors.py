"""Who changed a file: the process that an event names, read as soon as the event is.

An event tells a number and no time. Whoever has that number when we look was the same process all
along if it was there before the events began to gather; else the number may have been given anew,
or the process may have become another program since, and it is marked `RACY`. One that has ended is
a number alone. Where numbers are not the host's own nobody is named: no one is blamed wrongly.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import structs

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.namespaces import has_host_numbers, sees_host_processes
from proto.model import Process
from runtime.clock import Clock

RACY: Final = "racy"
ARGV_BYTES_MAX: Final = 4096
# Processes read for one handful of events; whose files are still told.
READ_MAX: Final = 64


def racy(process: Process) -> Process:
    """Return the process marked as one that may not be the one meant."""
    if RACY in process.caveats:
        return process
    return structs.replace(process, caveats=(*process.caveats, RACY))


class Actors:
    """Reads processes by the numbers of events.

    Args:
        host: where /proc is.
        clock: paces and stamps.
    """

    def __init__(self, host: HostRoot, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._reader: ProcessReader | None = None
        self._is_barred = False

    def of(self, pids: Iterable[int], since: int) -> Mapping[int, Process]:
        """Return who has these numbers; 0 is nobody's.

        Args:
            pids: of events that were read just now.
            since: boot-clock nanoseconds before which none of the events happened.
        """
        wanted = sorted({pid for pid in pids if pid > 0})[:READ_MAX]
        reader = self._opened() if wanted else None
        if reader is None:
            return {}
        return {pid: self._one(reader, pid, since) for pid in wanted}

    def close(self) -> None:
        """Let go of /proc; harmless when repeated."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._is_barred = False

    def _one(self, reader: ProcessReader, pid: int, since: int) -> Process:
        sight = reader.read(pid)
        if sight is None:
            return reader.unread(pid, None, self._clock.boot_ns())
        process = sight.process
        return process if process.start < since else racy(process)

    def _opened(self) -> ProcessReader | None:
        if self._reader is not None or self._is_barred:
            return self._reader
        with contextlib.suppress(HostFileError):
            reader = ProcessReader(self._host, self._clock, argv_bytes_max=ARGV_BYTES_MAX)
            if sees_host_processes(self._host, reader.proc) and has_host_numbers(self._host):
                self._reader = reader
            else:
                reader.close()
        self._is_barred = self._reader is None
        return self._reader
