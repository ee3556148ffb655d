"""Logs: one line an event, a constant message and typed fields, on standard error.

A message never holds data; data stands in fields, where no byte of it can end the line or forge
another one. One line on start, stop, change of state, first failure and recovery; whatever happens
once an item is a metric.
"""

import enum
import json
import logging
import math
import sys
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final, Literal, LiteralString, TextIO

VALUE_CHARS_MAX: Final = 1024
TRACE_CHARS_MAX: Final = 16 * 1024
ITEMS_MAX: Final = 32
DEPTH_MAX: Final = 3

_FIELDS: Final = "fields_of_log"
_RESERVED: Final = frozenset({"time", "level", "logger", "message", "trace"})
_INT_LIMIT: Final = 1 << 64
_PLAIN_BREAKERS: Final = frozenset(' "=\\')

Level = Literal["debug", "info", "warning", "error"]
Style = Literal["json", "plain"]


class Redacted:
    """Text that prints as ``***`` wherever it is shown.

    Args:
        text: the secret.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        """Never the secret; ``str`` and ``format`` come here too."""
        return "***"


class Log:
    """A named source of log lines.

    Args:
        name: the dotted module name.
        bound: fields that every line of this source carries.
    """

    __slots__ = ("_bound", "_logger")

    def __init__(self, name: str, bound: Mapping[str, object] | None = None) -> None:
        self._logger = logging.getLogger(name)
        self._bound = dict(bound or {})

    def bind(self, **fields: object) -> "Log":
        """Return the same source with more fields on every line."""
        return Log(self._logger.name, {**self._bound, **fields})

    def debug(self, message: LiteralString, /, **fields: object) -> None:
        """Tell a developer."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: LiteralString, /, **fields: object) -> None:
        """Tell of a start, a stop or a change of state."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: LiteralString, /, **fields: object) -> None:
        """Tell of something that works less well than it should."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: LiteralString, /, **fields: object) -> None:
        """Tell of something that does not work."""
        self._log(logging.ERROR, message, fields)

    def _log(self, level: int, message: str, fields: Mapping[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={_FIELDS: {**self._bound, **fields}})


def logger(name: str) -> Log:
    """Return the log of a module; call it as ``logger(__name__)``."""
    return Log(name)


def configure(level: Level = "info", style: Style = "json", stream: TextIO | None = None) -> None:
    """Send every log line of this process, libraries' too, to one stream.

    Args:
        level: the least severe line to print.
        style: ``json`` for one object a line, ``plain`` for a person.
        stream: standard error unless given.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else PlainLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


class JsonLines(logging.Formatter):
    """One ASCII JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        return json.dumps(_event(self, record))


class PlainLines(logging.Formatter):
    """Time, level, source, message and ``key=value`` fields, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        event = _event(self, record)
        head = (
            f"{event.pop('time')} {str(event.pop('level')).upper():7} "
            f"{_quoted(event.pop('logger'))}: {_escaped(str(event.pop('message')))}"
        )
        return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in event.items())])


def _event(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    stamp = datetime.fromtimestamp(record.created, UTC)
    event: dict[str, object] = {
        "time": stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _cut(record.getMessage(), VALUE_CHARS_MAX),
    }
    for key, value in getattr(record, _FIELDS, {}).items():
        event[f"{key}_" if key in _RESERVED else key] = _plain(value, DEPTH_MAX)
    if record.exc_info:
        event["trace"] = _cut(formatter.formatException(record.exc_info), TRACE_CHARS_MAX)
    return event


def _plain(value: object, depth: int) -> object:
    """Return ``value`` as bounded JSON data; anything unknown becomes its bounded text."""
    match value:
        case None | bool():
            return value
        case enum.Enum():
            return _plain(value.value, depth)
        case int():
            return value if abs(value) < _INT_LIMIT else _cut(hex(value), VALUE_CHARS_MAX)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return _cut(value, VALUE_CHARS_MAX)
        case bytes() | bytearray() | memoryview():
            return _cut(bytes(value[:VALUE_CHARS_MAX]).hex(), VALUE_CHARS_MAX)
        case Mapping() | list() | tuple() | set() | frozenset():
            return _plain_items(value, depth)
        case BaseException():
            return _cut(f"{type(value).__name__}: {value}", VALUE_CHARS_MAX)
        case PurePath() | uuid.UUID():
            return _cut(str(value), VALUE_CHARS_MAX)
        case _:
            return _cut(repr(value), VALUE_CHARS_MAX)


def _plain_items(value: Collection[object], depth: int) -> object:
    if not depth:
        return "..."
    if isinstance(value, Mapping):
        items = list(value.items())[:ITEMS_MAX]
        return {_cut(str(key), VALUE_CHARS_MAX): _plain(item, depth - 1) for key, item in items}
    return [_plain(item, depth - 1) for item in list(value)[:ITEMS_MAX]]


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 3]}..."


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1].replace('\\"', '"')


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    bare = isinstance(value, str) and text.isascii() and text.isprintable()
    if not isinstance(value, str) or (bare and text and not _PLAIN_BREAKERS & set(text)):
        return text
    return json.dumps(text)
