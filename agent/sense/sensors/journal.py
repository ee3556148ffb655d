"""Entries of the journal, by its cursor: logins, and lines for the surroundings of findings.

Source: journalctl as a child, over a pipe. Privilege: the group systemd-journal, as the child
has none of our capabilities. Cost: the child's memory, about 10 MiB of which most is the journal
itself, so by default the journal is read only where the host has no auth log. Misses: what journald
suppressed (said where it says so), what was vacuumed before it was read (said).

A login is believed where journald saw root write it, or the very program that it names: unlike in a
file, nobody else can write in their name.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import SystemRandom
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.journalchild import (
    JournalChild,
    Spawn,
    Wanted,
    arguments_of,
    is_cursor,
    program,
    spawn_child,
)
from agent.sense.sensors.journalexport import Entry, ExportParser, JournalError
from agent.sense.sensors.loginwatch import ENDED_MAX, PER_LINE_MAX, LoginSettings, LoginWatch
from agent.sense.sensors.logprivate import is_private
from agent.sense.sensors.logset import decode_cursor, encode_cursor
from agent.sense.sensors.logzone import has_auth_log
from agent.sense.sensors.losses import KINDS_MAX, Losses
from agent.sense.sensors.syslogline import Stamped
from proto import model
from proto.model import HealthState, Observation, ObservationKind, Precision
from runtime.backoff import Backoff
from runtime.clock import NS_PER_S, Clock

# An entry that is so old when it is read is no picture of now; health says so.
BEHIND_NS_MAX: Final = 60 * NS_PER_S

_PLACE: Final = "place"  # in our cursor: the journal's
_LOGINS: Final = "logins"
_LOOK_NS: Final = 60 * NS_PER_S
_NS_PER_US: Final = 1000
_RETRY_S_FIRST: Final = 1.0
_RETRY_S_MAX: Final = 300.0
_LABEL_CHARS_MAX: Final = 256
_ROOM: Final = POLL_SIGHTINGS_MAX - KINDS_MAX - ENDED_MAX - PER_LINE_MAX - 1
_DIRECTORIES: Final = ("/var/log/journal", "/run/log/journal")
_MACHINE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SUPPRESSED: Final = re.compile(r"Suppressed (\d{1,9}) messages from ", re.ASCII)
_FIELDS: Final = (
    "MESSAGE",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_FACILITY",
    "_COMM",
    "_EXE",
    "_UID",
)
_ALWAYS: Final = ("__CURSOR", "__REALTIME_TIMESTAMP")  # the reader writes these unasked


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the journal is read, and what of it leaves."""

    # auto: where the host has a journal and no auth log that anybody writes to.
    read: Literal["auto", "always", "never"] = "auto"
    # Lines beside logins, for the surroundings of findings.
    lines: bool = True
    # At the very first start so many of the newest entries are read.
    history_entries_max: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    line_chars_max: Annotated[int, Meta(ge=64, le=8192)] = 2048
    logins: LoginSettings = LoginSettings()


class JournalPorts(Struct, frozen=True):
    """What the sensor needs of the system it runs on."""

    spawn: Spawn = spawn_child
    program: Callable[[], str] = program
    random: Callable[[], float] = SystemRandom().random


class JournalSensor:
    """Tells what the journal holds.

    Args:
        settings: what is read.
        host: tells whether there is a journal, and where.
        clock: paces and stamps.
        ports: how a child is started.
    """

    spec = SensorSpec(
        name="journal",
        source="the journal, through journalctl",
        coverage="logins and lines that journald keeps",
        misses="what journald suppressed or vacuumed before it was read; logins that neither root"
        " nor the program itself wrote",
        privilege="the group systemd-journal",
        cost="a child of about 10 MiB, and some tens of microseconds an entry",
    )

    def __init__(
        self,
        settings: JournalSettings,
        host: HostRoot,
        clock: Clock,
        ports: JournalPorts | None = None,
    ) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._ports = ports or JournalPorts()
        self._logins = LoginWatch(settings.logins, self.spec, clock)
        self._losses = Losses(self.spec.name, clock)
        self._backoff = Backoff(
            wait_s_first=_RETRY_S_FIRST, wait_s_max=_RETRY_S_MAX, random=self._ports.random
        )
        self._child: JournalChild | None = None
        self._parser = ExportParser(())
        self._pending: deque[Entry] = deque()
        self._place = ""
        self._to_verify = ""
        self._off = "not started"
        self._is_blind = True
        self._problem = ""
        self._behind_ns = 0
        self._due: int | None = None
        self._retry_at = 0
        self._look_at = 0
        self._stopped_at = b""
        self._last_success = 0

    def start(self, cursor: bytes) -> None:
        """Begin where the cursor says, with the first poll."""
        self.stop()
        kept = decode_cursor(cursor)
        self._place = kept.get(_PLACE, b"").decode("ascii", "replace")
        self._logins.restore(kept.get(_LOGINS, b""))
        self._due = self._look_at = self._retry_at = 0

    def descriptors(self) -> Sequence[int]:
        """Return the child's pipes, where there is one."""
        return () if self._child is None else self._child.descriptors()

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        return self._due

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return what was added to the journal."""
        if self._due is None:
            return ()
        now = self._clock.boot_ns()
        if now >= self._look_at:
            self._look()
            self._look_at = (now // _LOOK_NS + 1) * _LOOK_NS
        if not self._off and self._child is None and now >= self._retry_at:
            self._begin(now)
        self._logins.rung = self._rung()
        out: list[Sighting] = []
        if self._child is not None:
            self._read(self._child, out, deadline)
        out += self._logins.tick()
        out += self._losses.take()
        self._due = self._next_due()
        return out

    def cursor(self) -> bytes:
        """Return the place up to which entries were told, after `stop` too."""
        if self._due is None:
            return self._stopped_at
        state = {_LOGINS: self._logins.state(), _PLACE: self._place.encode("ascii", "replace")}
        return encode_cursor(state)

    def health(self) -> SensorHealth:
        """Return whether the journal is read, and why not."""
        state, said = self._state()
        return SensorHealth(
            state=state,
            rung=self._rung(),
            reason="; ".join(filter(None, (said, "" if self._off else self._logins.caveat()))),
            last_success=self._last_success,
            dropped=self._losses.total,
        )

    def stop(self) -> None:
        """End the child; `cursor` stays what it was."""
        self._stopped_at = self.cursor()
        self._end()
        self._due = None
        self._off, self._is_blind = "not started", True

    # ------------------------------------------------------------------------- the child

    def _look(self) -> None:
        """See whether the journal is to be read now."""
        wanted = self._settings.read
        self._is_blind = False
        self._off = ""
        if wanted == "never":
            self._off = "not read: the settings say so"
        elif wanted == "auto" and has_auth_log(self._host, self._clock.wall_ns()):
            self._off = "not read: the host has an auth log"
        elif not self._directory():
            self._off, self._is_blind = "no journal here", True
        elif not self._ports.program():
            self._off, self._is_blind = "there is no journalctl here", True
        if self._off:
            self._end()
            self._problem = ""
            self._last_success = self._clock.wall_ns() if not self._is_blind else 0

    def _directory(self) -> str:
        """Return where the journal lies, as the host sees it; nothing where there is none."""
        for path in _DIRECTORIES:
            try:
                if any(_MACHINE.fullmatch(entry.name) for entry in self._host.scandir(path)):
                    return path
            except (HostFileError, OSError):
                continue
        return ""

    def _begin(self, now: int) -> None:
        wanted = Wanted(
            fields=_FIELDS,
            cursor=self._place if is_cursor(self._place) else "",
            history_entries=self._settings.history_entries_max,
            directory="" if self._host.path == "/" else self._host.path + self._directory(),
        )
        try:
            arguments = arguments_of(self._ports.program(), wanted)
            self._child = JournalChild(arguments, self._ports.spawn)
        except OSError as error:
            self._fail(f"the reader of the journal cannot be started: {error.strerror}", now)
            return
        self._parser = ExportParser((*_FIELDS, *_ALWAYS))
        self._to_verify = wanted.cursor

    def _end(self) -> str:
        """End the child; what was not told yet is read again from the cursor."""
        said = "" if self._child is None else self._child.end()
        self._child = None
        self._pending.clear()
        return said

    def _fail(self, why: str, now: int) -> None:
        self._problem = why
        self._retry_at = now + int(self._backoff.next_s() * NS_PER_S)

    # ------------------------------------------------------------------------- entries

    def _read(self, child: JournalChild, out: list[Sighting], deadline: int) -> None:
        """Tell entries until there are none, or the deadline or a full return; some in any case."""
        has_read = False
        while True:
            while self._pending and len(out) < _ROOM:
                out += self._entry(self._pending.popleft())
            now = self._clock.boot_ns()
            if self._pending or (has_read and now >= deadline):
                return
            data, has_read = child.read(), True
            if child.has_ended:
                self._fail(self._end(), now)
                return
            if not data:
                self._caught_up()
                return
            try:
                self._pending.extend(self._parser.feed(data))
            except JournalError as error:
                self._end()
                self._fail(f"the reader of the journal cannot be understood: {error}", now)
                return

    def _caught_up(self) -> None:
        self._behind_ns = 0
        self._last_success = self._clock.wall_ns()
        self._losses.nothing_lost_until_now()

    def _entry(self, entry: Entry) -> Iterator[Observation]:
        place = entry.fields.get("__CURSOR", b"").decode("ascii", "replace")
        if self._to_verify:
            is_told = place == self._to_verify
            self._to_verify = ""
            if is_told:
                return
            self._losses.gap("the place we were at is gone from the journal: vacuumed or lost")
        self._place = place
        self._problem = ""
        self._backoff.reset()
        self._losses.overflow("fields over 16 KiB were cut", entry.cut)
        yield from self._tell(entry)

    def _tell(self, entry: Entry) -> Iterator[Observation]:
        message = entry.fields.get("MESSAGE")
        if message is None:
            return
        text = message.decode("utf-8", "backslashreplace")
        name = entry.fields.get("SYSLOG_IDENTIFIER") or entry.fields.get("_COMM", b"")
        writer = host_text(name, _LABEL_CHARS_MAX)
        stamped = _stamped(entry)
        if stamped is not None:
            self._behind_ns = max(0, self._clock.wall_ns() - stamped.at)
        if _is_from(entry, writer):
            yield from self._logins.read(writer, text, stamped)
            if writer == "systemd-journald" and (found := _SUPPRESSED.match(text)):
                self._losses.overflow("journald suppressed messages", int(found[1]))
        facility = entry.fields.get("SYSLOG_FACILITY", b"")
        if self._settings.lines and not is_private(writer, text, facility):
            yield self._line(writer, message, stamped)

    def _line(self, writer: str, message: bytes, stamped: Stamped | None) -> Observation:
        now = self._clock.wall_ns()
        item = model.LogLine(
            path="journal",
            program=writer,
            message=host_text(message, self._settings.line_chars_max),
            offset=0,
        )
        return Observation(
            kind=ObservationKind.LOG_LINE,
            source=model.Source(self.spec.name, self._rung(), self.spec.coverage),
            event_time=stamped.at if stamped else now,
            event_precision=stamped.precision if stamped else Precision.UNKNOWN,
            observed_at=now,
            subject=model.Entity(model.Role.RELATED, item),
        )

    # ------------------------------------------------------------------------- what we say

    def _next_due(self) -> int:
        if self._pending:
            return 0
        if self._off or self._child is not None:
            return self._look_at
        return min(self._look_at, self._retry_at)

    def _state(self) -> tuple[HealthState, str]:
        if self._off:
            return (HealthState.BLIND if self._is_blind else HealthState.OK), self._off
        if self._problem:
            return HealthState.DEGRADED, self._problem
        if self._child is not None and "not seeing messages" in self._child.complaint:
            return HealthState.DEGRADED, "only our own messages: grant the group systemd-journal"
        if self._pending and self._behind_ns > BEHIND_NS_MAX:
            return HealthState.DEGRADED, f"{self._behind_ns // NS_PER_S} s behind"
        return HealthState.OK, ""

    def _rung(self) -> str:
        return "off" if self._off else "journalctl"


def _stamped(entry: Entry) -> Stamped | None:
    """Return when journald took the entry."""
    digits = entry.fields.get("__REALTIME_TIMESTAMP", b"")
    if not digits.isdigit() or len(digits) > 16:
        return None
    return Stamped(int(digits) * _NS_PER_US, Precision.EXACT)


def _is_from(entry: Entry, writer: str) -> bool:
    """Tell whether root wrote it, or the program it names, as journald saw it."""
    if entry.fields.get("_UID") == b"0":
        return True
    exe = entry.fields.get("_EXE", b"").decode("utf-8", "replace")
    directory, _, name = exe.rpartition("/")
    return name == writer and directory in {"/bin", "/sbin", "/usr/bin", "/usr/sbin"}
