"""Joins what another source tells of an exec to the exec itself.

The record of an exec comes a moment after the event, or before we have read that, so each waits a
little for the other; they belong together by process and time. What such a source tells of the
arguments counts more than /proc, which the process itself can write.
"""

from collections import deque
from typing import Final

from msgspec import UNSET, structs

from agent.hosttext import host_text
from agent.sense.sensors.accounts import Accounts
from agent.sense.sensors.execrecord import ArgvSource, ExecRecord
from agent.sense.sensors.hashqueue import Seen
from agent.sense.sensors.identity import PATH_CHARS_MAX
from proto.model import ObservationKind, Process
from runtime.clock import NS_PER_MS, NS_PER_S, Clock

WAIT_MS_MAX: Final = 100
APART_S_MAX: Final = 2
EARLY_MAX: Final = 4096
# So many execs in a row without a record, and none is waited for until one comes.
SILENT_AFTER: Final = 64
RECORDS_PER_READ: Final = 64


class ArgvJoin:
    """Execs that wait for their record, and records that wait for their exec.

    Args:
        source: is closed with this.
        accounts: name the users.
        clock: tells how long something waits.
    """

    def __init__(self, source: ArgvSource, accounts: Accounts, clock: Clock) -> None:
        self._source = source
        self._accounts = accounts
        self._clock = clock
        self._waiting: dict[int, list[Seen]] = {}
        self._early: dict[int, list[ExecRecord]] = {}
        # Of all processes in the order they came, those joined meanwhile included.
        self._came: deque[ExecRecord] = deque()
        self._lost = source.losses
        self._silent = 0
        self._has_told = False

    @property
    def is_telling(self) -> bool:
        """Whether execs are told of with their arguments, as far as was seen."""
        return self._has_told and self._silent < SILENT_AFTER

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are records."""
        return self._source.fileno()

    def close(self) -> None:
        """Close the source; harmless when repeated."""
        self._source.close()

    def take_lost(self) -> int:
        """Return how often records were lost since this was asked last."""
        before, self._lost = self._lost, self._source.losses
        return self._lost - before

    def receive(self) -> bool:
        """Take what the source has; return whether there was anything."""
        records = self._source.receive(RECORDS_PER_READ)
        for record in records:
            if record.success:
                self._silent = 0
                self._has_told = True
            seen = _nearest(self._waiting.get(record.pid, []), record)
            if seen is None:
                self._keep(record)
            else:
                self._forget(seen)
                self._write(seen, record)
        return bool(records)

    def expect(self, seen: Seen) -> None:
        """Join an exec to its record, or let it wait for that."""
        pid = seen.process.pid
        records = [
            record
            for record in self._early.get(pid, [])
            if record.success is (seen.kind is ObservationKind.PROCESS_EXEC)
            and _apart(seen, record) <= APART_S_MAX * NS_PER_S
        ]
        if records:
            record = min(records, key=lambda each: _apart(seen, each))
            self._drop(record)
            self._write(seen, record)
        elif seen.kind is ObservationKind.PROCESS_EXEC and self._silent < SILENT_AFTER:
            seen.waits_until = self._clock.boot_ns() + WAIT_MS_MAX * NS_PER_MS
            self._waiting.setdefault(pid, []).append(seen)

    def tell(self, seen: Seen) -> None:
        """Take note that an exec waits no longer."""
        if seen.waits_until:
            self._silent += 1
            self._forget(seen)

    def _forget(self, seen: Seen) -> None:
        seen.waits_until = 0
        pid = seen.process.pid
        left = [other for other in self._waiting.get(pid, []) if other is not seen]
        if left:
            self._waiting[pid] = left
        else:
            self._waiting.pop(pid, None)

    def _keep(self, record: ExecRecord) -> None:
        self._early.setdefault(record.pid, []).append(record)
        self._came.append(record)
        oldest = self._clock.wall_ns() - APART_S_MAX * NS_PER_S
        while len(self._came) > EARLY_MAX or self._came[0].wall_ns < oldest:
            self._drop(self._came.popleft())
            if not self._came:
                break

    def _drop(self, record: ExecRecord) -> None:
        records = self._early.get(record.pid, [])
        for at, other in enumerate(records):
            if other is record:
                del records[at]
                break
        if not records:
            self._early.pop(record.pid, None)

    def _write(self, seen: Seen, record: ExecRecord) -> None:
        seen.process = joined(seen.process, record, self._accounts)


def joined(process: Process, record: ExecRecord, accounts: Accounts) -> Process:
    """Return the process with the arguments of the record, and whatever else was not collected."""
    told: dict[str, object] = {
        "ppid": record.ppid,
        "exe": record.exe and host_text(record.exe, PATH_CHARS_MAX),
        "cwd": record.cwd and host_text(record.cwd, PATH_CHARS_MAX),
        "user": None if record.uid is None else accounts.user(record.uid),
        "effective_user": None if record.euid is None else accounts.user(record.euid),
        "login_user": None if record.auid is None else accounts.user(record.auid),
        "tty": record.tty,
    }
    missing = {
        name: value
        for name, value in told.items()
        if value is not None and getattr(process, name) is UNSET
    }
    return structs.replace(process, argv=record.argv or process.argv, **missing)


def _apart(seen: Seen, record: ExecRecord) -> int:
    return abs(seen.event_time - record.wall_ns)


def _nearest(waiting: list[Seen], record: ExecRecord) -> Seen | None:
    if not record.success:
        return None
    near = [seen for seen in waiting if _apart(seen, record) <= APART_S_MAX * NS_PER_S]
    return min(near, key=lambda seen: _apart(seen, record), default=None)
