"""The logs of one sensor, followed together: woken by inotify, read in slices, counted when behind.

A poll reads each log until its end, the deadline or a full return, and what is left is read later:
nothing is skipped for being too much. The cursor holds, for each log, the place up to which lines
were read.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.hostroot import HostRoot
from agent.sense.inspector import Inspector
from agent.sense.ports import POLL_SIGHTINGS_MAX, Sighting
from agent.sense.sensors.logfile import Line
from agent.sense.sensors.logunpack import Unpacker
from agent.sense.sensors.logwatch import LogWatch
from agent.sense.sensors.tail import Tail
from proto.model import Drop, DropReason, HealthState
from runtime.clock import NS_PER_S, Clock

# A log that is so far behind is no picture of now; health says so.
BEHIND_BYTES_MAX: Final = 4 * 1024 * 1024
FILES_MAX: Final = 64

# A look without an event: at length where inotify wakes us, twice in ten seconds where not.
_QUIET_NS: Final = 60 * NS_PER_S
_POLL_NS: Final = 5 * NS_PER_S
_LINES_MAX: Final = 256
_GAPS_ROOM: Final = 64  # and for what the sensor adds
_ALL: Final = 1 << 62

_cursor_encoder = msgspec.msgpack.Encoder()
_cursor_decoder = msgspec.msgpack.Decoder(
    Annotated[dict[str, bytes], Meta(max_length=2 * FILES_MAX)]
)

LogPath = Annotated[str, Meta(pattern=r"^/[^\x00]*[^/\x00]\Z", max_length=4096)]


class Reading(Struct, frozen=True):
    """How a line becomes sightings: at most ``per_line_max`` of them."""

    read: Callable[[str, Line], Iterable[Sighting]]
    per_line_max: int


class LogSet:
    """Follows a set of logs.

    Args:
        sensor: whose they are.
        host: the only way to them.
        clock: paces and stamps.
        history_bytes_max: how much of a log that was there before us is read at the first start.
        inspector: reaches the worker that inflates; None for one of our own.
    """

    def __init__(
        self,
        sensor: str,
        host: HostRoot,
        clock: Clock,
        history_bytes_max: int,
        inspector: Inspector | None = None,
    ) -> None:
        self._sensor = sensor
        self._host = host
        self._clock = clock
        self._history_bytes_max = history_bytes_max
        self._tails: dict[str, Tail] = {}
        self._watch = LogWatch(host, ())
        self._unpacker = Unpacker(host, inspector or Inspector(clock))
        self._due: int | None = None
        self._behind = 0
        self._cut = 0
        self.last_success = 0
        self.gaps = 0

    # ------------------------------------------------------------------------- life

    def start(self, paths: Iterable[str], cursors: dict[str, bytes]) -> None:
        """Open the logs where their cursors left them.

        Args:
            paths: absolute, at most `FILES_MAX`.
            cursors: from `cursors`, by path.
        """
        self.stop()
        self._watch = LogWatch(self._host, ())
        self._watch.open()
        self._due = 0
        self.follow(paths, cursors)

    def follow(self, paths: Iterable[str], cursors: dict[str, bytes] | None = None) -> None:
        """Follow these logs and no others; one that is new here is read from its beginning."""
        wanted = list(paths)[:FILES_MAX]
        gone = self._tails.keys() - set(wanted)
        if any(self._tails[path].packed for path in gone):
            self._unpacker.stop()
        for path in gone:
            self._tails.pop(path).close()
        for path in wanted:
            if path in self._tails:
                continue
            history = _ALL if cursors is None else self._history_bytes_max
            tail = self._tails[path] = Tail(self._host, path, history)
            tail.start((cursors or {}).get(path, b""), self._clock.boot_ns())
        self._watch.set_paths(self._tails)
        self._watch_files()

    @property
    def is_started(self) -> bool:
        """Whether the logs are being followed."""
        return self._due is not None

    def cursors(self) -> dict[str, bytes]:
        """Return, for each log, the places up to which lines were read."""
        return {path: tail.cursor() for path, tail in self._tails.items()}

    def stop(self) -> None:
        """Close the logs and inotify; harmless when repeated."""
        for tail in self._tails.values():
            tail.close()
        self._tails = {}
        self._unpacker.stop()
        self._watch.close()
        self._due = None

    # ------------------------------------------------------------------------- the loop

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptor, where there is one, and the worker's."""
        fd = self._watch.fileno()
        own = (fd,) if fd >= 0 and self.is_started else ()
        return (*own, *self._unpacker.descriptors())

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        times = (self._due, self._unpacker.due() if self.is_started else None)
        return min((time for time in times if time is not None), default=None)

    def poll(self, deadline: int, reading: Reading) -> list[Sighting]:
        """Read the lines that were added.

        Args:
            deadline: boot-clock nanoseconds by which to return.
            reading: what to make of them.
        """
        self._watch.drain()
        self._unpacker.work(list(self._tails.values()))
        out: list[Sighting] = []
        is_at_end = True
        for path in sorted(self._tails, key=lambda path: self._tails[path].was_read):
            is_at_end = self._read(path, reading, out, deadline) and is_at_end
        if self._cut:
            out.append(self._drop(DropReason.OVERFLOW, "lines over 64 KiB were cut", self._cut))
            self._cut = 0
        self._watch.watch_directories()
        self._watch_files()
        self._behind = 0 if is_at_end else sum(tail.behind() for tail in self._tails.values())
        self._due = self._next_due() if is_at_end else 0
        return out

    # ------------------------------------------------------------------------- health

    @property
    def rung(self) -> str:
        """How we learn of a new line."""
        return "inotify" if self._watch.is_whole else "poll"

    def problems(self) -> dict[str, str]:
        """Return, by path, why a log cannot be read."""
        return {path: tail.problem for path, tail in self._tails.items() if tail.problem}

    def state(self) -> tuple[HealthState, str]:
        """Return what can be seen, and why not all of it."""
        problems = self.problems()
        said = [f"{path}: {problem}" for path, problem in problems.items()]
        if self._behind > BEHIND_BYTES_MAX:
            said.append(f"{self._behind >> 20} MiB behind")
        if not self.is_started:
            return HealthState.BLIND, "not started"
        if len(problems) == len(self._tails):
            only_missing = all(problem == Tail.MISSING for problem in problems.values())
            here = "no such log here" if only_missing else ""
            return HealthState.BLIND, "; ".join(filter(None, [here, *said]))
        is_refused = any(problem != Tail.MISSING for problem in problems.values())
        if is_refused or self._behind > BEHIND_BYTES_MAX:
            return HealthState.DEGRADED, "; ".join(said)
        return HealthState.OK, ""

    # ------------------------------------------------------------------------- the work

    def _read(self, path: str, reading: Reading, out: list[Sighting], deadline: int) -> bool:
        """Read one log until its end, the deadline or a full return; True at the end."""
        tail = self._tails[path]
        while True:
            room = POLL_SIGHTINGS_MAX - _GAPS_ROOM - len(out)
            now = self._clock.boot_ns()
            if room < reading.per_line_max or (out and now >= deadline):
                return False
            tail.was_read = now
            taken = tail.take(min(room // reading.per_line_max, _LINES_MAX), now)
            out += [self._drop(DropReason.SOURCE_GAP, f"{path}: {gap}") for gap in taken.gaps]
            for line in taken.lines:
                self._cut += line.is_cut
                out += reading.read(path, line)
            if taken.is_at_end:
                if not tail.problem:
                    self.last_success = self._clock.wall_ns()
                return True
            if now >= deadline:
                return False

    def _drop(self, reason: DropReason, detail: str, count: int | None = None) -> Drop:
        self.gaps += count or 1
        return Drop(
            reason=reason,
            sensor=self._sensor,
            count=count,
            first=self.last_success or None,
            last=self._clock.wall_ns(),
            last_boot=self._clock.boot_ns(),
            detail=detail,
        )

    def _watch_files(self) -> None:
        self._watch.watch_files([file for tail in self._tails.values() for file in tail.files()])

    def _next_due(self) -> int:
        """Return a time that others are due at too, so that an idle host is woken once for all."""
        interval = _QUIET_NS if self._watch.is_whole else _POLL_NS
        quiet = (self._clock.boot_ns() // interval + 1) * interval
        times = [due for tail in self._tails.values() if (due := tail.due()) is not None]
        return min([quiet, *times])


def encode_cursor(cursors: dict[str, bytes]) -> bytes:
    """Return places and other state, by name, as a sensor's cursor."""
    return _cursor_encoder.encode(cursors)


def decode_cursor(cursor: bytes) -> dict[str, bytes]:
    """Return what `encode_cursor` was given; nothing for anything else."""
    if not cursor:
        return {}
    try:
        cursors: dict[str, bytes] = _cursor_decoder.decode(cursor)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return cursors
