"""Recorded events, judged without a host: what ``match --events`` does.

One line of input is one event; its number, from 0, is the ``event`` of every match it gives. A line
that is no event is counted and named, and never ends the run.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from agent.commands.common import say
from agent.commands.recorded import NoObservation, recorded_observation
from agent.sense.match import sigmafields, sigmaformats
from agent.sense.match.sigma import RuleEngine
from agent.sense.match.sigmaevent import SigmaEvent
from agent.sense.match.sigmaintel import values_of
from proto.content.index import MappedIndex
from proto.content.rules import RuleSet
from proto.rows import plain

OBSERVATION: Final = "observation"
LINE_BYTES_MAX: Final = 4 * 1024 * 1024
BAD_LINES_SHOWN_MAX: Final = 20

Row = Mapping[str, object]


class Judged(Struct):
    """How many lines there were, and how many of them were none."""

    lines: int = 0
    bad: int = 0


def replay(
    events: IO[bytes], name: str, rules: RuleSet | None, index: MappedIndex | None, count: Judged
) -> Iterator[Row]:
    """Yield a row for each match of each event.

    Args:
        events: untrusted lines.
        name: their format: ``observation`` or one of `sigmaformats.FORMATS`.
        rules: to judge by, if any.
        index: of indicators to look their values up in, if any.
        count: gets the numbers of lines.

    Raises:
        ContentError: an expression of a rule is none, or the index changed meanwhile.
        OSError: the lines cannot be read.
    """
    engine = RuleEngine(rules) if rules is not None else None
    read = _reader(name, engine)
    for at, line in enumerate(_lines(events)):
        count.lines += 1
        if not line.strip():
            continue
        event = _event(at, line, read, count)
        if event is None:
            continue
        if engine is not None:
            for found in engine.match(event):
                yield {"rule_id": found.rule.id, "event": at, "fields": dict(found.fields)}
        if index is not None:
            yield from _listed(at, event, index)


def _lines(events: IO[bytes]) -> Iterator[bytes]:
    """Yield lines; of one that is too long, what is too much of it to be an event."""
    while line := events.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX:
            while line[-1:] != b"\n" and (more := events.readline(LINE_BYTES_MAX)):
                line = line[: LINE_BYTES_MAX + 1] + more[-1:]
        yield line


def _event(
    at: int, line: bytes, read: Callable[[bytes], SigmaEvent | None], count: Judged
) -> SigmaEvent | None:
    try:
        if len(line) > LINE_BYTES_MAX:
            raise NoObservation(f"more than {LINE_BYTES_MAX} bytes")  # noqa: TRY301  (one road)
        return read(line)
    except (NoObservation, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        count.bad += 1
        if count.bad <= BAD_LINES_SHOWN_MAX:
            say(f"line {at + 1}: {' '.join(str(error).split()) or 'too deep'}")
        return None


def _reader(name: str, engine: RuleEngine | None) -> Callable[[bytes], SigmaEvent | None]:
    if name == OBSERVATION:
        asked = engine.fields if engine is not None else frozenset[str]()
        return lambda line: sigmafields.event_of(recorded_observation(line), asked)
    if name in {"raw", "auditd"}:
        return lambda line: sigmaformats.event_of(name, _json_or_text(line))
    return lambda line: sigmaformats.event_of(name, _object(line))


def _json_or_text(line: bytes) -> object:
    """Return what JSON says, or the line itself: logs are recorded as they are, too."""
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line.decode("utf-8", "replace").rstrip("\r\n")
    return found if isinstance(found, dict) else line.decode("utf-8", "replace").rstrip("\r\n")


def _object(line: bytes) -> object:
    found = msgspec.json.decode(line)
    if not isinstance(found, dict):
        raise NoObservation("not an object")
    return found


def _listed(at: int, event: SigmaEvent, index: MappedIndex) -> Iterator[Row]:
    """Yield what indicators say of the values of an event."""
    for field, kind, value, port in values_of(event):
        rows = index.matches(kind, value) if kind else index.lookup_address(value, port)
        for found in rows:
            told = {"field": field, "value": value, "indicator": plain(found)}
            yield {"rule_id": f"indicator.{found.kind.value}", "event": at, "fields": told}


def opened(place: Path | None) -> IO[bytes]:
    """Return the lines of a file, or of standard input for ``-``.

    Raises:
        OSError: the file cannot be opened.
    """
    return sys.stdin.buffer if place is None or str(place) == "-" else place.open("rb")
