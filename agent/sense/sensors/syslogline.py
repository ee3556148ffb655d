"""One line of a syslog file: stamp, host, program, message. Pure: time and zone are arguments.

Two headers are read: ``Nov 22 10:00:00`` (RFC 3164, no year, no zone) and RFC 3339 / ISO 8601.
Any text gives a line or None; every pattern is anchored and takes time linear in the line.

Source: RFC 3164 section 4.1.2, RFC 3339 section 5.6.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from msgspec import Struct

from proto.model import Precision

# A log's clock may be this far ahead of ours before its month is taken for last year's.
AHEAD_MAX: Final = timedelta(days=1)
_LEAP_YEARS_BACK: Final = 8
_NS: Final = 1_000_000_000
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_PLAIN_STAMP: Final = r"(?P<plain>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)"
_ISO_STAMP: Final = (
    r"(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)"
)
_LINE: Final = re.compile(
    rf"(?:{_PLAIN_STAMP}|{_ISO_STAMP}) (?P<host>\S{{1,255}}) "
    r"(?P<program>[^\s:\[\]]{1,64})(?:\[(?P<pid>\d{1,10})\])?: ?(?P<message>.*)",
    re.ASCII | re.DOTALL,
)
_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:(Z)|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


class SyslogLine(Struct, frozen=True):
    """A line taken apart; ``stamp`` is read by `time_of`."""

    stamp: str
    host: str
    program: str
    pid: int | None
    message: str


class Stamped(Struct, frozen=True):
    """When, in nanoseconds UTC, and how exactly that is known."""

    at: int
    precision: Precision


def parse(text: str) -> SyslogLine | None:
    """Return the parts of a line, or None where it does not begin as syslog lines do.

    Args:
        text: untrusted, without its line end.
    """
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    pid = found["pid"]
    return SyslogLine(
        stamp=found["plain"] or found["iso"],
        host=found["host"],
        program=found["program"],
        pid=int(pid) if pid else None,
        message=found["message"],
    )


def time_of(line: SyslogLine, now: int, zone: tzinfo) -> Stamped | None:
    """Return when a line says it was written, or None for a time that does not exist.

    Args:
        line: from `parse`.
        now: nanoseconds UTC; a stamp without a year means the last such day up to a day from now.
        zone: the host's, for stamps that name none.
    """
    if line.stamp[0].isdigit():
        return _iso_time(line.stamp, zone)
    when = _plain_time(line.stamp, datetime.fromtimestamp(now // _NS, UTC), zone)
    return None if when is None else Stamped(_ns_of(when), Precision.SECOND)


def _plain_time(stamp: str, now: datetime, zone: tzinfo) -> datetime | None:
    month = _MONTHS.get(stamp[:3])
    if month is None:
        return None
    day, hour = int(stamp[4:6]), int(stamp[7:9])
    minute, second = int(stamp[10:12]), int(stamp[13:15])
    latest = now + AHEAD_MAX
    for year in range(latest.year + 1, latest.year - _LEAP_YEARS_BACK - 1, -1):
        try:
            when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
            if when <= latest:
                return _unfolded(when, now)
        except (ValueError, OverflowError):
            continue  # 29 February in another year, or no date at all
    return None


def _unfolded(when: datetime, now: datetime) -> datetime:
    """Return the later of the two meanings of an hour that a zone has twice, if it is not ahead."""
    later = when.replace(fold=1)
    return later if later.astimezone(UTC) <= now else when


def _iso_time(stamp: str, zone: tzinfo) -> Stamped | None:
    found = _ISO.fullmatch(stamp)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    if found[8]:
        zone = UTC
    elif found[9]:
        offset = timedelta(hours=int(found[10]), minutes=int(found[11]))
        zone = timezone(-offset if found[9] == "-" else offset) if offset < _DAY else UTC
    try:
        when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        at = _ns_of(when)
    except (ValueError, OverflowError):
        return None
    if not found[7]:
        return Stamped(at, Precision.SECOND)
    return Stamped(at + int(found[7].ljust(9, "0")), Precision.EXACT)


def _ns_of(when: datetime) -> int:
    since = when.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * _NS
