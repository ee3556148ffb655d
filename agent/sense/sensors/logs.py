"""Lines of the logs that the settings name: syslog, the audit log, and any other.

Source: the files of `LogsSettings`, woken by inotify. Privilege: the right to read them. Cost: some
tens of microseconds a line. Misses: what is logged to the journal alone, what is truncated or
deleted before it is read (said), what a program writes to a file that it alone still has open.

A line leaves as it is, for the surroundings of findings, except where it may hold what somebody
typed: lines of programs that let people in are read for logins alone, and audit records that hold
arguments or keystrokes for nothing else. Logins are told here only where the host has no auth log:
nothing is counted twice.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from fnmatch import translate
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.ports import SensorHealth, SensorSpec, Sighting
from agent.sense.sensors import auditlog, syslogline
from agent.sense.sensors.auditlog import AccountText
from agent.sense.sensors.logfamily import is_rotated_name
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.loginwatch import PER_LINE_MAX, LoginSettings, LoginWatch
from agent.sense.sensors.logprivate import is_private
from agent.sense.sensors.logset import LogPath, LogSet, Reading, decode_cursor, encode_cursor
from agent.sense.sensors.logzone import has_auth_log, zone_of
from agent.sense.sensors.syslogline import Stamped
from proto import model
from proto.model import Observation, ObservationKind, Precision
from runtime.clock import NS_PER_S, Clock

MATCHES_MAX: Final = 32

_LOGINS: Final = "logins"  # in the cursor, beside paths, which begin otherwise
_WILD: Final = re.compile(r"[*?\[]")
_GLOB_NS: Final = 60 * NS_PER_S
_LABEL_CHARS_MAX: Final = 256
_PATH_CHARS_MAX: Final = 4096
Tell = Literal["auto", "always", "never"]


class LogFileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One log, or several: the last part of ``path`` may hold ``*``, ``?`` and ``[``."""

    path: LogPath
    # What its lines are called where they do not say it themselves.
    program: Annotated[str, Meta(max_length=64)] = ""
    # plain has no form at all.
    kind: Literal["syslog", "audit", "plain"] = "syslog"


class LogsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which logs are read, and what of them leaves."""

    # Debian's and Red Hat's; one that does not exist is waited for.
    files: Annotated[tuple[LogFileSettings, ...], Meta(max_length=32)] = (
        LogFileSettings("/var/log/syslog"),
        LogFileSettings("/var/log/messages"),
        LogFileSettings("/var/log/audit/audit.log", "audit", "audit"),
    )
    history_bytes_max: Annotated[int, Meta(ge=0, le=1 << 30)] = 64 * 1024
    # A longer line leaves cut, with a mark.
    line_chars_max: Annotated[int, Meta(ge=64, le=8192)] = 2048
    # Whether logins in them are told: auto only where there is no auth log, which tells them.
    logins_from: Tell = "auto"
    logins: LoginSettings = LoginSettings()


class LogsSensor:
    """Tells lines, and the logins and accounts in them.

    Args:
        settings: which logs.
        host: the only way to them, and to its time zone.
        clock: paces and stamps.
    """

    spec = SensorSpec(
        name="logs",
        source="syslog, the audit log and any configured log",
        coverage="lines that are logged to these files",
        misses="what the journal alone has; what is truncated or deleted before it is read;"
        " lines can be forged locally",
        privilege="read access to the logs (group adm; root for the audit log)",
        cost="some tens of microseconds a line",
    )

    def __init__(self, settings: LogsSettings, host: HostRoot, clock: Clock) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._logs = LogSet(self.spec.name, host, clock, settings.history_bytes_max)
        self._logins = LoginWatch(settings.logins, self.spec, clock)
        self._reading = Reading(self._read, PER_LINE_MAX + 1)
        self._files: dict[str, LogFileSettings] = {}
        self._zone: tzinfo = UTC
        self._tells_logins = False
        self._looked_at = 0
        self._left_out = 0
        self._stopped_at = b""

    def start(self, cursor: bytes) -> None:
        """Open the logs where the cursor left them."""
        self.stop()
        self._zone = zone_of(self._host)
        cursors = decode_cursor(cursor)
        self._logins.restore(cursors.pop(_LOGINS, b""))
        self._look()
        self._logs.start(self._files, cursors)

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptor, where there is one."""
        return self._logs.descriptors()

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        return self._logs.due()

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Read the lines that were added."""
        if not self._logs.is_started:
            return ()
        if self._clock.boot_ns() >= self._looked_at + _GLOB_NS:
            self._look()
            self._logs.follow(self._files)
        self._logins.rung = self._logs.rung
        out = self._logs.poll(deadline, self._reading)
        out += self._logins.tick()
        return out

    def cursor(self) -> bytes:
        """Return, for each log, the places up to which lines were read, after `stop` too."""
        if not self._logs.is_started:
            return self._stopped_at
        return encode_cursor(self._logs.cursors() | {_LOGINS: self._logins.state()})

    def health(self) -> SensorHealth:
        """Return which logs can be read."""
        state, reason = self._logs.state()
        said = [reason]
        if self._left_out:
            said.append(f"logs over the limit of {MATCHES_MAX} to a pattern: {self._left_out}")
        if self._tells_logins:
            said.append(self._logins.caveat())
        return SensorHealth(
            state=state,
            rung=self._logs.rung,
            reason="; ".join(filter(None, said)),
            last_success=self._logs.last_success,
            dropped=self._logs.gaps,
        )

    def stop(self) -> None:
        """Close the logs and inotify; `cursor` stays what it was."""
        self._stopped_at = self.cursor()
        self._logs.stop()

    # ------------------------------------------------------------------------- which logs

    def _look(self) -> None:
        """Find the logs that there are now, and whether logins are told elsewhere."""
        self._looked_at = self._clock.boot_ns()
        wanted = self._settings.logins_from
        self._tells_logins = wanted == "always" or (
            wanted == "auto" and not has_auth_log(self._host, self._clock.wall_ns())
        )
        self._left_out = 0
        self._files = {path: file for file in self._settings.files for path in self._paths(file)}

    def _paths(self, file: LogFileSettings) -> list[str]:
        directory, _, name = file.path.rpartition("/")
        if not _WILD.search(name):
            return [file.path]
        fits = re.compile(translate(name)).match
        try:
            names = sorted(e.name for e in self._host.scandir(directory or "/") if fits(e.name))
        except (HostFileError, OSError):
            return []
        names = [n for n in names if not any(is_rotated_name(n, of) for of in names)]
        self._left_out += max(0, len(names) - MATCHES_MAX)
        return [f"{directory}/{n}" for n in names[:MATCHES_MAX]]

    # ------------------------------------------------------------------------- lines

    def _read(self, path: str, line: Line) -> Iterator[Observation]:
        file = self._files[path]
        if file.kind == "audit":
            yield from self._read_audit(path, line, file)
            return
        text = line.text.decode("utf-8", "backslashreplace")
        parsed = syslogline.parse(text) if file.kind == "syslog" else None
        if parsed is None:
            yield self._line(path, line.offset, (file.program, text), None)
            return
        stamped = syslogline.time_of(parsed, self._clock.wall_ns(), self._zone)
        if self._tells_logins:
            yield from self._logins.read(parsed.program, parsed.message, stamped)
        if not is_private(parsed.program, parsed.message):
            yield self._line(path, line.offset, (parsed.program, parsed.message), stamped)

    def _read_audit(self, path: str, line: Line, file: LogFileSettings) -> Iterator[Observation]:
        record = auditlog.parse(line.text)
        if record is None:
            return
        stamped = Stamped(record.wall_ns, Precision.EXACT)
        if isinstance(record.means, AccountText):
            yield self._seen(record.means.kind, model.Role.TARGET, record.means.user, stamped)
        elif record.means is not None and self._tells_logins:
            yield from self._logins.login(record.means, stamped)
        elif record.sudoer is not None and self._tells_logins:
            yield from self._logins.sudoer(record.sudoer, stamped)
        elif auditlog.is_plain(record.kind):
            text = line.text.decode("utf-8", "backslashreplace")
            yield self._line(path, line.offset, (file.program, text), stamped)

    def _line(
        self, path: str, offset: int, said: tuple[str, str], stamped: Stamped | None
    ) -> Observation:
        program, message = said
        item = model.LogLine(
            path=host_text(path, _PATH_CHARS_MAX),
            program=host_text(program, _LABEL_CHARS_MAX),
            message=host_text(message.encode("utf-8", "replace"), self._settings.line_chars_max),
            offset=offset,
        )
        return self._seen(ObservationKind.LOG_LINE, model.Role.RELATED, item, stamped)

    def _seen(
        self, kind: ObservationKind, role: model.Role, thing: model.Thing, stamped: Stamped | None
    ) -> Observation:
        now = self._clock.wall_ns()
        return Observation(
            kind=kind,
            source=model.Source(self.spec.name, self._logs.rung, self.spec.coverage),
            event_time=stamped.at if stamped else now,
            event_precision=stamped.precision if stamped else Precision.UNKNOWN,
            observed_at=now,
            subject=model.Entity(role, thing),
        )
