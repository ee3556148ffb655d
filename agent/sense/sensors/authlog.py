"""Logins and failed attempts, from the logs that sshd, su, sudo and login write through syslog.

Source: the files of `AuthLogSettings`, woken by inotify. Privilege: the right to read them (group
adm on Debian). Cost: nothing while nothing is logged, then a few microseconds a line. Misses: what
is logged to the journal alone, rotations compressed while we were away, what a truncating rotation
drops. Any local user can write to syslog in sshd's name, so a line is a claim and not a proof; on a
log server these may be lines of other hosts.

A failed login's user name is what somebody typed, at times a password: it leaves here inside
`Login.user` only, where redaction finds it, and never in a raw line.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors import syslogline
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.logintext import FAILED, REPEATS_MAX, LoginText, login_of
from agent.sense.sensors.logwatch import LogWatch
from agent.sense.sensors.tail import Tail
from proto import model
from proto.model import Drop, DropReason, HealthState, Observation, Precision
from runtime.clock import NS_PER_S, Clock

# A look without an event: at length where inotify wakes us, twice in ten seconds where not.
_QUIET_NS: Final = 60 * NS_PER_S
_POLL_NS: Final = 5 * NS_PER_S
_LINES_MAX: Final = 256
_GAPS_ROOM: Final = 32
_LABEL_CHARS_MAX: Final = 256
_FAILED_MAX: Final = 1024
_ZONE_BYTES_MAX: Final = 64 * 1024

_cursor_encoder = msgspec.msgpack.Encoder()
_cursor_decoder = msgspec.msgpack.Decoder(Annotated[dict[str, bytes], Meta(max_length=64)])

LogPath = Annotated[str, Meta(pattern=r"^/[^\x00]*[^/\x00]\Z", max_length=4096)]


class AuthLogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which logs tell of logins."""

    # Debian's and Red Hat's; one that does not exist is waited for.
    paths: Annotated[tuple[LogPath, ...], Meta(max_length=16)] = (
        "/var/log/auth.log",
        "/var/log/secure",
    )
    # At the very first start a log's end is read too: an attack may be going on already.
    history_bytes_max: Annotated[int, Meta(ge=0, le=1 << 30)] = 1024 * 1024


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
        misses="journal-only hosts; rotations compressed while away; lines can be forged locally",
        privilege="read access to the logs (group adm)",
        cost="a few microseconds a line",
    )

    def __init__(self, settings: AuthLogSettings, host: HostRoot, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._tails = {p: Tail(host, p, settings.history_bytes_max) for p in settings.paths}
        self._watch = LogWatch(host, settings.paths)
        self._zone: tzinfo = UTC
        self._failed: dict[tuple[str, int], None] = {}
        self._due: int | None = None
        self._stopped_at = b""
        self._last_success = 0
        self._gaps = 0

    def start(self, cursor: bytes) -> None:
        """Open the logs where the cursor left them."""
        self.stop()
        self._zone = zone_of(self._host)
        cursors = _parsed(cursor)
        for path, tail in self._tails.items():
            tail.start(cursors.get(path, b""), self._clock.boot_ns())
        self._watch.open()
        self._watch_files()
        self._due = 0

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptor, where there is one."""
        fd = self._watch.fileno()
        return (fd,) if fd >= 0 else ()

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        return self._due

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Read the lines that were added and return the logins they tell of."""
        if self._due is None:
            return ()
        self._watch.drain()
        out: list[Sighting] = []
        is_at_end = True
        for path, tail in self._tails.items():
            is_at_end = self._read(path, tail, out, deadline) and is_at_end
        self._watch.watch_directories()
        self._watch_files()
        self._due = self._next_due() if is_at_end else 0
        return out

    def cursor(self) -> bytes:
        """Return, for each log, the places up to which lines were read, after `stop` too."""
        if self._due is None:
            return self._stopped_at
        return _cursor_encoder.encode({path: tail.cursor() for path, tail in self._tails.items()})

    def health(self) -> SensorHealth:
        """Return which logs can be read."""
        problems = {path: tail.problem for path, tail in self._tails.items() if tail.problem}
        state = HealthState.OK
        if self._due is None or len(problems) == len(self._tails):
            state = HealthState.BLIND
        elif any(problem != Tail.MISSING for problem in problems.values()):
            state = HealthState.DEGRADED
        reason = "; ".join(f"{path}: {problem}" for path, problem in problems.items())
        return SensorHealth(
            state=state,
            rung=self._rung(),
            reason="" if state is HealthState.OK else reason or "not started",
            last_success=self._last_success,
            dropped=self._gaps,
        )

    def stop(self) -> None:
        """Close the logs and inotify; `cursor` stays what it was."""
        self._stopped_at = self.cursor()
        for tail in self._tails.values():
            tail.close()
        self._watch.close()
        self._due = None

    # ------------------------------------------------------------------------- the work

    def _read(self, path: str, tail: Tail, out: list[Sighting], deadline: int) -> bool:
        """Read one log until its end, the deadline or a full return; True at the end."""
        while True:
            room = POLL_SIGHTINGS_MAX - _GAPS_ROOM - len(out)
            now = self._clock.boot_ns()
            if room < REPEATS_MAX or (out and now >= deadline):
                return False
            taken = tail.take(min(room // REPEATS_MAX, _LINES_MAX), now)
            out += [self._drop(path, gap) for gap in taken.gaps]
            for line in taken.lines:
                out += self._sightings(line)
            if taken.is_at_end:
                if not tail.problem:
                    self._last_success = self._clock.wall_ns()
                return True
            if now >= deadline:
                return False

    def _sightings(self, line: Line) -> Iterator[Observation]:
        parsed = syslogline.parse(line.text.decode("utf-8", "backslashreplace"))
        if parsed is None:
            return
        login = login_of(parsed.program, parsed.message)
        if login is None or self._is_told(login):
            return
        now = self._clock.wall_ns()
        stamped = syslogline.time_of(parsed, now, self._zone)
        observation = Observation(
            kind=model.ObservationKind.LOGIN,
            source=model.Source(self.spec.name, self._rung(), self.spec.coverage),
            event_time=stamped.at if stamped else now,
            event_precision=stamped.precision if stamped else Precision.UNKNOWN,
            observed_at=now,
            subject=model.Entity(model.Role.ACTOR, entity_of(login)),
        )
        for _ in range(login.count):
            yield observation

    def _is_told(self, login: LoginText) -> bool:
        """Tell whether this is the end of a connection whose failures were told one by one."""
        if login.outcome != FAILED or not login.address or login.port is None:
            return False
        connection = (login.address, login.port)
        if login.is_end and connection in self._failed:
            return True
        self._failed[connection] = None
        if len(self._failed) > _FAILED_MAX:
            del self._failed[next(iter(self._failed))]
        return False

    def _drop(self, path: str, why: str) -> Drop:
        self._gaps += 1
        return Drop(
            reason=DropReason.SOURCE_GAP,
            sensor=self.spec.name,
            first=self._last_success or None,
            last=self._clock.wall_ns(),
            last_boot=self._clock.boot_ns(),
            detail=f"{path}: {why}",
        )

    def _watch_files(self) -> None:
        self._watch.watch_files([file for tail in self._tails.values() for file in tail.files()])

    def _next_due(self) -> int:
        now = self._clock.boot_ns()
        times = [due for tail in self._tails.values() if (due := tail.due()) is not None]
        return min([now + (_QUIET_NS if self._watch.is_whole else _POLL_NS), *times])

    def _rung(self) -> str:
        return "inotify" if self._watch.is_whole else "poll"


def entity_of(login: LoginText) -> model.Login:
    """Return a login as the model states it: an address that did not parse was not collected."""
    user = model.User(
        uid=UNSET if login.uid is None else login.uid,
        name=None if login.user is None else host_text(login.user, _LABEL_CHARS_MAX),
    )
    return model.Login(
        tty=None if login.tty is None else host_text(login.tty, _LABEL_CHARS_MAX),
        remote_address=UNSET if login.address == "" else login.address,
        remote_port=UNSET if login.address == "" else login.port,
        method=login.method,
        outcome=login.outcome,
        user=user,
        service=login.service,
    )


def zone_of(host: HostRoot) -> tzinfo:
    """Return the host's time zone; UTC where it has none that can be read."""
    try:
        return ZoneInfo.from_file(io.BytesIO(host.read_bytes("/etc/localtime", _ZONE_BYTES_MAX)))
    except (HostFileError, ValueError, struct.error, IndexError, EOFError):
        return UTC


def _parsed(cursor: bytes) -> dict[str, bytes]:
    if not cursor:
        return {}
    try:
        cursors: dict[str, bytes] = _cursor_decoder.decode(cursor)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return cursors
