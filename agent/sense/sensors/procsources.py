"""Opens what tells of processes, best first, and says what each refusal costs.

Every source is tried, never guessed from a version. All are opened before capabilities are given
up; after that only marks of file systems mounted later still need one.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors import fanotify
from agent.sense.sensors.execmarks import OVERLAY, ExecMarks
from agent.sense.sensors.execrecord import ArgvSource
from agent.sense.sensors.fanotify import FanotifyRefused, Group
from agent.sense.sensors.mountwatch import MountWatch
from agent.sense.sensors.namespaces import sees_host_processes
from agent.sense.sensors.overlays import Overlays
from agent.sense.sensors.procconn import Connector, ConnectorRefused
from agent.sense.sensors.procdir import Proc
from runtime.clock import Clock
from runtime.errors import VedetteError

PRIVATE: Final = "private pid namespace: processes of the host are not seen"
COPY: Final = "this is a copy of a /proc: no events belong to it"

# Opens a source of arguments; raises one of our errors where there is none.
OpenArgv = Callable[[], ArgvSource]


class Wanted(Struct, frozen=True):
    """Which sources are wanted, and the limits they are opened with."""

    receive_buffer_bytes: int
    exits: bool
    opens: bool
    argv: OpenArgv | None = None


class Files(Struct, frozen=True):
    """What tells of files that are executed."""

    group: Group
    marks: ExecMarks
    watch: MountWatch


class Sources(Struct):
    """What could be opened; ``limits`` narrow the view, ``notes`` only say how it is had."""

    connector: Connector | None = None
    files: Files | None = None
    argv: ArgvSource | None = None
    is_foreign: bool = False
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def close(self) -> None:
        """Close them all; harmless when repeated."""
        if self.connector is not None:
            self.connector.close()
        if self.files is not None:
            self.files.group.close()
            self.files.watch.close()
        if self.argv is not None:
            self.argv.close()


def open_sources(host: HostRoot, proc: Proc, clock: Clock, wanted: Wanted) -> Sources:
    """Open what there is.

    The connector comes first: no file may be opened for an exec that is not told of.

    Args:
        host: whose mounts are watched.
        proc: the process table that numbers have to agree with.
        clock: stamps losses.
        wanted: what to try.
    """
    sources = Sources(is_foreign=not sees_host_processes(host, proc))
    if sources.is_foreign:
        sources.limits = (PRIVATE,)
        return sources
    if not proc.is_genuine:
        sources.limits = (COPY,)
        return sources
    try:
        sources.connector = Connector(clock, wanted.receive_buffer_bytes, exits=wanted.exits)
    except ConnectorRefused as error:
        sources.limits = (error.message,)
        return sources
    if wanted.opens:
        try:
            sources.files = _files(host)
        except (FanotifyRefused, HostFileError) as error:
            sources.notes += (f"executables are read from /proc: {error.message}",)
    if wanted.argv is not None:
        try:
            sources.argv = wanted.argv()
        except VedetteError as error:
            sources.notes += (f"arguments are read from /proc: {error}",)
    return sources


def renew(files: Files, overlays: Overlays) -> None:
    """Mark what is mounted now.

    Raises:
        OSError: the mount table cannot be read.
    """
    files.marks.renew(files.watch.read())
    overlays.renew(
        (device, mark.path)
        for device, mark in files.marks.by_device.items()
        if mark.kind == OVERLAY
    )


def _files(host: HostRoot) -> Files:
    group = fanotify.for_descriptors()
    try:
        return Files(group, ExecMarks(group, host), MountWatch(host))
    except HostFileError:
        group.close()
        raise
