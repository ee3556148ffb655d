"""Puts the records of an audit event together: one `ExecRecord` for each execve(2) that was told.

An event is several records with one number: SYSCALL, EXECVE, CWD, PATH, PROCTITLE, then EOE, which
ends it. Those of several events arrive mixed; any may be lost. An event that does not end is taken
after a while for what is known of it, and what waits is bounded in number and size.
"""

import posixpath
import re
from typing import Final

from msgspec import Struct

from agent.hosttext import host_text
from agent.sense.sensors.auditargv import Arguments, of_title
from agent.sense.sensors.auditfields import AuditError, Part, fields_of, number, plain
from agent.sense.sensors.auditserials import LATE_NS_MAX
from agent.sense.sensors.execrecord import ExecRecord

SYSCALL: Final = 1300
PATH: Final = 1302
CWD: Final = 1307
EXECVE: Final = 1309
EOE: Final = 1320
PROCTITLE: Final = 1327
KINDS: Final = frozenset({SYSCALL, PATH, CWD, EXECVE, EOE, PROCTITLE})

PATH_CHARS_MAX: Final = 4096
_TTY_CHARS_MAX: Final = 64
_EVENT_BYTES: Final = 1024  # what an event costs besides its arguments

# Architecture: its execve and execveat; the last two of x86-64 are those of the x32 ABI.
_EXECS: Final = {
    b"c000003e": frozenset({b"59", b"322", b"1073742344", b"1073742369"}),
    b"40000003": frozenset({b"11", b"358"}),
    b"c00000b7": frozenset({b"221", b"281"}),
    b"40000028": frozenset({b"11", b"387"}),
}
_PTS: Final = re.compile(rb"pts(\d{1,7})")


class JoinBounds(Struct, frozen=True):
    """How much may wait for the rest of its event."""

    events_max: int = 256
    size_bytes_max: int = 1 << 20
    argv_bytes_max: int = 32_768


class _Event(Struct):
    """What is known of one event; ``arguments`` is None until an EXECVE record came."""

    wall_ns: int
    since: int
    is_other: bool = False
    call: dict[bytes, bytes] | None = None
    arguments: Arguments | None = None
    cwd: bytes | None = None
    name: bytes | None = None
    title: bytes | None = None


class Joiner:
    """Takes records and returns execs.

    Args:
        bounds: how much may wait.
    """

    def __init__(self, bounds: JoinBounds) -> None:
        self._bounds = bounds
        self._events: dict[int, _Event] = {}
        self._held_bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._events)

    def take(self, part: Part, now: int) -> list[ExecRecord]:
        """Take one record and return what is complete now."""
        if part.kind not in KINDS:
            return []
        if part.kind == EOE:
            is_known = part.serial in self._events
            return self._end(part.serial, is_ended=True) if is_known else []
        event = self._events.get(part.serial)
        if event is None:
            event = self._events[part.serial] = _Event(part.wall_ns, now)
            self._held_bytes += _EVENT_BYTES
        if not event.is_other:
            self._add(event, part)
        return self._within_bounds()

    def overdue(self, now: int) -> list[ExecRecord]:
        """Return what is known of events that should have ended."""
        told: list[ExecRecord] = []
        while self._events:
            serial, event = next(iter(self._events.items()))
            if now - event.since < LATE_NS_MAX:
                break
            told += self._end(serial, is_ended=False)
        return told

    def _add(self, event: _Event, part: Part) -> None:
        if part.kind == EXECVE:
            if event.arguments is None:
                event.arguments = Arguments(self._bounds.argv_bytes_max)
            before = event.arguments.size_bytes
            event.arguments.add(part.text)
            self._held_bytes += event.arguments.size_bytes - before
            return
        fields = fields_of(part.text)
        if part.kind == SYSCALL and event.call is None:
            event.call = fields
            event.is_other = not _may_be_exec(fields)
        elif part.kind == CWD:
            event.cwd = event.cwd or _readable(fields.get(b"cwd"))
        elif part.kind == PATH and fields.get(b"item") == b"0":
            event.name = event.name or _readable(fields.get(b"name"))
        elif part.kind == PROCTITLE:
            event.title = fields.get(b"proctitle")

    def _within_bounds(self) -> list[ExecRecord]:
        told: list[ExecRecord] = []
        while (
            len(self._events) > self._bounds.events_max
            or self._held_bytes > self._bounds.size_bytes_max
        ):
            told += self._end(next(iter(self._events)), is_ended=False)
        return told

    def _end(self, serial: int, *, is_ended: bool) -> list[ExecRecord]:
        event = self._events.pop(serial)
        kept = event.arguments.size_bytes if event.arguments else 0
        self._held_bytes -= _EVENT_BYTES + kept
        return self._told(serial, event, is_ended=is_ended)

    def _told(self, serial: int, event: _Event, *, is_ended: bool) -> list[ExecRecord]:
        """Return the exec of an event, if it was one; what should have come and did not is lost."""
        if event.is_other:
            return []
        call = event.call
        pid = number(call.get(b"pid")) if call else None
        if call is None or not pid:
            # A part without its SYSCALL is of an exec only if it brings arguments.
            self.lost += event.arguments is not None
            return []
        if event.arguments is None and not _is_exec(call):
            return []
        success = call.get(b"success", b"yes") == b"yes"
        argv: tuple[str, ...] = ()
        if event.arguments is not None:
            argv = event.arguments.whole()
        elif success:
            argv = of_title(event.title, self._bounds.argv_bytes_max)
        self.lost += not is_ended or (success and event.arguments is None)
        return [
            ExecRecord(
                pid=pid,
                ppid=number(call.get(b"ppid")),
                serial=serial,
                wall_ns=event.wall_ns,
                argv=argv,
                exe=_image(event, call, success=success),
                cwd=_text(event.cwd),
                uid=number(call.get(b"uid")),
                euid=number(call.get(b"euid")),
                auid=number(call.get(b"auid")),
                session=number(call.get(b"ses")),
                tty=_tty(call.get(b"tty")),
                success=success,
            )
        ]


def _may_be_exec(call: dict[bytes, bytes]) -> bool:
    """Tell whether a SYSCALL may be one that runs a program; of an unknown machine any may."""
    return call.get(b"arch") not in _EXECS or _is_exec(call)


def _is_exec(call: dict[bytes, bytes]) -> bool:
    return call.get(b"syscall") in _EXECS.get(call.get(b"arch", b""), ())


def _image(event: _Event, call: dict[bytes, bytes], *, success: bool) -> str | None:
    """Return the image that runs now, or the file that could not be run."""
    if success:
        return _text(_readable(call.get(b"exe")))
    if event.name is None or event.cwd is None or event.name[:1] == b"/":
        return _text(event.name)
    return _text(posixpath.normpath(posixpath.join(event.cwd, event.name)))


def _readable(value: bytes | None) -> bytes | None:
    try:
        return plain(value)
    except AuditError:
        return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else host_text(value, PATH_CHARS_MAX)


def _tty(value: bytes | None) -> str | None:
    """Return the name below /dev; the kernel writes ``pts0`` for ``pts/0``."""
    if value is None or value in {b"(none)", b"(null)", b"?"}:
        return None
    if found := _PTS.fullmatch(value):
        return f"pts/{found[1].decode()}"
    return host_text(value, _TTY_CHARS_MAX)
