"""An event as one RFC 5424 message: header, structured data, and the rest as JSON or pairs. Pure.

The whole message is printable ASCII, so that no receiver can take host text for framing, for a
second message or for a control code; JSON escapes carry everything else. A message over the limit
is cut in a fixed order, and says so: long text first, then ancestry and surroundings, then all but
the core. The ids are never cut.

Source: RFC 5424, sections 6.2 to 6.4; RFC 5425, section 4.3.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from collector.forward.document import Plain, document, plausible_time
from collector.forward.event import Event
from collector.forward.settings import SyslogDestination
from proto.model import Severity

APP_NAME: Final = "vedette"
CUT_MARK: Final = "...[cut]"
_PRIORITY: Final = {
    Severity.UNSPECIFIED: 6,
    Severity.INFORMATIONAL: 6,
    Severity.LOW: 5,
    Severity.MEDIUM: 4,
    Severity.HIGH: 3,
    Severity.CRITICAL: 2,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The last microsecond that RFC 3339 can write.
_MICROSECONDS_MAX: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_NOT_HOST: Final = re.compile(r"[^\x21-\x7e]")
_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e]")
_SD_ESCAPED: Final = re.compile(r'[\\"\]]')
# What a cut takes away whole, and how long text may then still be.
_SURROUNDINGS: Final = ("ancestry", "content", "sources", "hosts", "arguments", "note")
_CORE: Final = (
    "event_id", "kind", "severity", "severity_id", "event_time", "received_time", "forwarded_time",
    "tenant", "agent", "host", "trusted", "finding_id", "incident_uid", "title", "finding_kind",
    "activity", "disposition", "confidence", "status", "revision", "reason", "log_size",
)  # fmt: skip
_LONG_CHARS: Final = 512
_CORE_CHARS: Final = 40

_ENCODER: Final = msgspec.json.Encoder()


def encode(event: Event, now: int, destination: SyslogDestination) -> bytes:
    """Return one message, at most ``message_bytes_max`` long, without framing.

    Args:
        event: what to tell.
        now: when it is forwarded, nanoseconds UTC.
        destination: format, facility and limit.
    """
    plain: Plain = msgspec.to_builtins(document(event, now))
    head = _head(event, plain, destination).encode("ascii")
    room = destination.message_bytes_max - len(head)
    say = _json if destination.format == "json" else _pairs
    for version in _versions(plain):
        message = say(version)
        if len(message) <= room:
            return head + message
    return head + say({"event_id": event.uid, "cut": True})


def frame(message: bytes) -> bytes:
    """Return a message with its length before it.

    Source: RFC 5425, section 4.3.
    """
    return b"%d " % len(message) + message


def timestamp(time: int) -> str:
    """Return nanoseconds UTC as RFC 3339 with microseconds; out of its range, the nearest end."""
    microseconds = min(max(time // 1000, 0), _MICROSECONDS_MAX)
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def escaped_value(text: str) -> str:
    r"""Return text as a value of structured data: printable ASCII; ``"``, ``\`` and ``]`` escaped.

    Source: RFC 5424, section 6.3.3.
    """
    return _SD_ESCAPED.sub(lambda found: "\\" + found[0], _printable(text))


def _head(event: Event, plain: Plain, destination: SyslogDestination) -> str:
    origin = event.origin
    priority = destination.facility * 8 + _PRIORITY[event.severity]
    host = _NOT_HOST.sub("", origin.host)[:255] or "-"
    kind = plain.get("finding_kind", "")
    message_id = f"{event.kind.value}.{kind}" if kind else event.kind.value
    parameters = {
        "event_id": event.uid,
        "finding_id": str(plain.get("finding_id", "")),
        "tenant": origin.tenant,
        "agent": origin.agent,
        "severity": event.severity.value,
        "activity": str(plain.get("activity", "")),
    }
    data = "".join(
        f' {name}="{escaped_value(value)}"' for name, value in parameters.items() if value
    )
    return (
        f"<{priority}>1 {timestamp(plausible_time(event))} {host} {APP_NAME} - {message_id[:32]} "
        f"[{destination.structured_data_id}{data}] "
    )


def _versions(plain: Plain) -> Iterator[Plain]:
    """Yield an event whole, then cut more and more."""
    yield plain
    yield {**_shortened(plain, _LONG_CHARS), "cut": True}
    near = {key: value for key, value in plain.items() if key not in _SURROUNDINGS}
    yield {**_shortened(near, _LONG_CHARS), "cut": True}
    core = {key: plain[key] for key in _CORE if key in plain}
    yield {**_shortened(core, _CORE_CHARS), "cut": True}


def _shortened(value: Any, chars_max: int) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str() if len(value) > chars_max:
            return value[: chars_max - len(CUT_MARK)] + CUT_MARK
        case dict():
            return {key: _shortened(item, chars_max) for key, item in value.items()}
        case list() | tuple():
            return [_shortened(item, chars_max) for item in value]
        case _:
            return value


def _json(plain: Plain) -> bytes:
    text = _ENCODER.encode(plain).decode()
    return _NOT_PLAIN.sub(_json_escape, text).encode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    """Return a character outside printable ASCII, which stands only in strings, as JSON escapes."""
    raw = found[0].encode("utf-16-be")
    return "".join(f"\\u{raw[at : at + 2].hex()}" for at in range(0, len(raw), 2))


def _pairs(plain: Plain) -> bytes:
    pairs = (f"{key}={_pair_value(value)}" for key, value in _flat("", plain))
    return " ".join(pairs).encode("ascii")


def _flat(prefix: str, plain: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and scalars; a list's items are told apart by their number."""
    for key, value in plain.items():
        name = f"{prefix}{key}"
        match value:
            case dict():
                yield from _flat(f"{name}.", value)
            case list() | tuple():
                yield from _flat(f"{name}.", {str(at): item for at, item in enumerate(value)})
            case _:
                yield name, value


def _pair_value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "-"
        case str():
            text = _printable(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
        case _:
            return str(value)


def _printable(text: str) -> str:
    r"""Return text with everything outside printable ASCII written as ``\uXXXX``."""
    return _NOT_PLAIN.sub(_json_escape, text)
