"""Logins and failed attempts, from the logs that sshd, su, sudo and login write through syslog.

Source: the files of `AuthLogSettings`, woken by inotify. Privilege: the right to read them (group
adm on Debian). Cost: nothing while nothing is logged, then some microseconds a line. Misses: what
is logged to the journal alone, what is truncated or deleted before it is read (said). Any local
user can write to syslog in sshd's name, so a line is a claim and not a proof; on a log server these
may be lines of other hosts.

A failed login's user name is what somebody typed, at times a password: it leaves here inside
`Login.user` only, where redaction finds it, and never in a raw line.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.hostroot import HostRoot
from agent.sense.ports import SensorHealth, SensorSpec, Sighting
from agent.sense.sensors import syslogline
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.loginwatch import PER_LINE_MAX, LoginSettings, LoginWatch
from agent.sense.sensors.logset import LogPath, LogSet, Reading, decode_cursor, encode_cursor
from agent.sense.sensors.logzone import AUTH_LOGS, zone_of
from proto.model import Observation
from runtime.clock import Clock

_LOGINS: Final = "logins"  # in the cursor, beside paths, which begin otherwise


class AuthLogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which logs tell of logins."""

    # Debian's and Red Hat's; one that does not exist is waited for.
    paths: Annotated[tuple[LogPath, ...], Meta(max_length=16)] = AUTH_LOGS
    # At the very first start a log's end is read too: an attack may be going on already.
    history_bytes_max: Annotated[int, Meta(ge=0, le=1 << 30)] = 1024 * 1024
    logins: LoginSettings = LoginSettings()


class AuthLogSensor:
    """Tells logins and attempts.

    Args:
        settings: which logs.
        host: the only way to them, and to its time zone.
        clock: paces and stamps.
    """

    spec = SensorSpec(
        name="authlog",
        source="syslog files of sshd, su, sudo and login",
        coverage="logins and failures that are logged to a file",
        misses="journal-only hosts; what is truncated or deleted before it is read; lines can be"
        " forged locally",
        privilege="read access to the logs (group adm)",
        cost="some microseconds a line",
    )

    def __init__(self, settings: AuthLogSettings, host: HostRoot, clock: Clock) -> None:
        self._paths = settings.paths
        self._host = host
        self._clock = clock
        self._logs = LogSet(self.spec.name, host, clock, settings.history_bytes_max)
        self._logins = LoginWatch(settings.logins, self.spec, clock)
        self._reading = Reading(self._read, PER_LINE_MAX)
        self._zone: tzinfo = UTC
        self._stopped_at = b""

    def start(self, cursor: bytes) -> None:
        """Open the logs where the cursor left them."""
        self.stop()
        self._zone = zone_of(self._host)
        cursors = decode_cursor(cursor)
        self._logins.restore(cursors.pop(_LOGINS, b""))
        self._logs.start(self._paths, cursors)

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptor, where there is one."""
        return self._logs.descriptors()

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        return self._logs.due()

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Read the lines that were added and return the logins they tell of."""
        if not self._logs.is_started:
            return ()
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
        return SensorHealth(
            state=state,
            rung=self._logs.rung,
            reason="; ".join(filter(None, (reason, self._logins.caveat()))),
            last_success=self._logs.last_success,
            dropped=self._logs.gaps,
        )

    def stop(self) -> None:
        """Close the logs and inotify; `cursor` stays what it was."""
        self._stopped_at = self.cursor()
        self._logs.stop()

    def _read(self, _path: str, line: Line) -> Iterable[Observation]:
        parsed = syslogline.parse(line.text.decode("utf-8", "backslashreplace"))
        if parsed is None:
            return ()
        stamped = syslogline.time_of(parsed, self._clock.wall_ns(), self._zone)
        return self._logins.read(parsed.program, parsed.message, stamped)
