"""Syslog headers are read as they are written, years and zones included."""

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors import syslogline
from agent.sense.sensors.syslogline import Stamped, SyslogLine
from proto.model import Precision

NS = 1_000_000_000


def ns(*parts: int, zone: tzinfo = UTC) -> int:
    return int(datetime(*parts, tzinfo=zone).timestamp()) * NS  # type: ignore[arg-type,misc]


def when(stamp: str, now: int, zone: tzinfo = UTC) -> Stamped | None:
    line = syslogline.parse(f"{stamp} host sshd[1]: message")
    assert line is not None
    return syslogline.time_of(line, now, zone)


def test_a_traditional_line_is_taken_apart() -> None:
    line = syslogline.parse("Nov  2 10:00:00 web-1 sshd[4242]: Failed: [x] y")

    assert line == SyslogLine("Nov  2 10:00:00", "web-1", "sshd", 4242, "Failed: [x] y")


def test_a_line_without_a_process_id_and_an_iso_stamp_are_read_too() -> None:
    line = syslogline.parse("2026-11-22T10:00:00.123456+02:00 web su: pam_unix(su:auth): x")

    assert line == SyslogLine(
        "2026-11-22T10:00:00.123456+02:00", "web", "su", None, "pam_unix(su:auth): x"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no header at all",
        "Nov 22 10:00:00",
        "Nov 22 10:00:00 host",
        "Nov 22 10:00 host sshd: x",
        " Nov 22 10:00:00 host sshd[1]: x",
        "2026-11-22 host sshd: x",
        "Nov 22 10:00:00 host sshd[1] x",
    ],
)
def test_what_does_not_begin_as_syslog_lines_do_is_none(text: str) -> None:
    assert syslogline.parse(text) is None


@pytest.mark.parametrize(
    ("stamp", "now", "year"),
    [
        ("Nov 22 10:00:00", (2026, 11, 22, 10, 0, 1), 2026),
        ("Dec 31 23:59:59", (2027, 1, 1, 0, 0, 1), 2026),
        ("Dec  5 00:00:00", (2027, 1, 20, 0, 0, 0), 2026),
        ("Jan  1 00:00:01", (2026, 12, 31, 23, 59, 59), 2027),
        ("Jan  2 00:00:00", (2026, 12, 31, 12, 0, 0), 2026),
        ("Nov 23 09:00:00", (2026, 11, 22, 10, 0, 0), 2026),
        ("Nov 23 11:00:00", (2026, 11, 22, 10, 0, 0), 2025),
        ("Feb 29 12:00:00", (2026, 3, 1, 0, 0, 0), 2024),
    ],
)
def test_the_missing_year_is_the_last_one_not_more_than_a_day_ahead(
    stamp: str, now: tuple[int, ...], year: int
) -> None:
    found = when(stamp, ns(*now))

    assert found is not None
    assert datetime.fromtimestamp(found.at // NS, UTC).year == year
    assert found.precision is Precision.SECOND


@pytest.mark.parametrize("stamp", ["Nov 31 10:00:00", "Xxx 10 10:00:00", "Nov 10 25:00:00"])
def test_a_time_that_does_not_exist_is_none(stamp: str) -> None:
    assert when(stamp, ns(2026, 11, 22)) is None


def test_a_traditional_stamp_is_in_the_zone_of_the_host() -> None:
    berlin = ZoneInfo("Europe/Berlin")

    found = when("Jul  1 12:00:00", ns(2026, 7, 1, 10, 0, 5), berlin)

    assert found == Stamped(ns(2026, 7, 1, 10), Precision.SECOND)


def test_the_hour_that_comes_twice_is_the_one_that_has_been() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = ns(2026, 10, 25, 0, 30), ns(2026, 10, 25, 1, 30)

    assert when("Oct 25 02:30:00", first + NS, berlin) == Stamped(first, Precision.SECOND)
    assert when("Oct 25 02:30:00", second + NS, berlin) == Stamped(second, Precision.SECOND)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-22T10:00:00Z", Stamped(ns(2026, 11, 22, 10), Precision.SECOND)),
        ("2026-11-22T10:00:00.5Z", Stamped(ns(2026, 11, 22, 10) + NS // 2, Precision.EXACT)),
        ("2026-11-22 10:00:00,000001", Stamped(ns(2026, 11, 22, 9) + 1000, Precision.EXACT)),
        ("2026-11-22T10:00:00+0530", Stamped(ns(2026, 11, 22, 4, 30), Precision.SECOND)),
        ("2026-11-22T10:00:00-01:00", Stamped(ns(2026, 11, 22, 11), Precision.SECOND)),
        ("2026-06-30T23:59:60Z", Stamped(ns(2026, 6, 30, 23, 59, 59), Precision.SECOND)),
        ("2026-02-30T10:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_an_iso_stamp_says_its_zone_or_has_the_hosts(stamp: str, expected: Stamped | None) -> None:
    assert when(stamp, ns(2026, 11, 22), timezone(timedelta(hours=1))) == expected


@given(st.text(max_size=300))
def test_any_text_is_a_line_or_none(text: str) -> None:
    line = syslogline.parse(text)

    assert line is None or syslogline.time_of(line, ns(2026, 11, 22), UTC) is not NotImplemented


@given(
    st.from_regex(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", fullmatch=True)
    | st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{4})", fullmatch=True
    ),
    st.integers(ns(1971, 1, 1), ns(2200, 1, 1)),
)
def test_any_stamp_is_a_time_or_none(stamp: str, now: int) -> None:
    line = syslogline.parse(f"{stamp} h p: m")

    assert line is None or isinstance(syslogline.time_of(line, now, UTC), Stamped | None)


@pytest.mark.parametrize("piece", ["Nov 22 10:00:00 ", "a", " ", "[", ":", "[1", "9" * 8])
def test_the_time_to_refuse_a_line_grows_with_its_length_alone(piece: str) -> None:
    text = "Nov 22 10:00:00 " + piece * (200_000 // len(piece))

    began = time.process_time()
    syslogline.parse(text)

    assert time.process_time() - began < 0.2
