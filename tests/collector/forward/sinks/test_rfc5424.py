"""Any event is one message that a strict parser of RFC 5424 reads back."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.forward.event import Event
from collector.forward.select import event_at
from collector.forward.settings import SyslogDestination
from collector.forward.sinks.rfc5424 import CUT_MARK, encode, escaped_value, frame, timestamp
from proto.model import Argument, Finding, Severity
from tests.collector.builders import NOW, an_admitted_batch
from tests.collector.forward.builders import a_syslog, an_event
from tests.fakes.syslog import unframe
from tests.proto.builders import a_finding, a_process, values_of

# The grammar of RFC 5424, section 6, for what we send: printable ASCII.
MESSAGE = re.compile(
    r"<(?P<priority>[0-9]{1,3})>1 (?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z) "
    r"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) - (?P<id>[!-~]{1,32}) "
    r"\[(?P<sd>[!#-<>-\\^-~]{1,32})(?P<data>(?: [a-z_]+=\"(?:[^\"\\\]]|\\[\"\\\]])*\")*)\] "
    r"(?P<text>[ -~]*)"
)
PARAMETER = re.compile(r" ([a-z_]+)=\"((?:[^\"\\\]]|\\[\"\\\]])*)\"")
PAIR = re.compile(r'([a-z0-9_.]+)=("(?:[^"\\]|\\["\\])*"|[^" ]+)(?: |$)')
SEVERITIES = st.sampled_from(list(Severity))
FORMATS = st.sampled_from(["json", "pairs"])


def parsed(message: bytes) -> dict[str, str]:
    found = MESSAGE.fullmatch(message.decode("ascii"))
    assert found is not None, message
    return found.groupdict()


def parameters(message: bytes) -> dict[str, str]:
    return {
        name: re.sub(r"\\(.)", r"\1", value)
        for name, value in PARAMETER.findall(parsed(message)["data"])
    }


@given(values_of(Finding), st.text(max_size=300), FORMATS, st.integers(2048, 9000))
def test_any_event_is_one_well_formed_message_within_the_limit(
    finding: Finding, host: str, form: str, limit: int
) -> None:
    event = event_at(an_admitted_batch(finding, host_name=host), 0)
    if event is None:  # a shadow finding
        return

    message = encode(event, NOW, a_syslog(format=form, message_bytes_max=limit))

    assert len(message) <= limit
    assert parameters(message)["event_id"] == event.uid
    text = parsed(message)["text"]
    if form == "json":
        assert json.loads(text)["event_id"] == event.uid
    else:
        assert "".join(found[0] for found in PAIR.finditer(text)) == text


@given(st.text(max_size=200))
def test_a_value_of_structured_data_reads_back(text: str) -> None:
    value = escaped_value(text)

    assert value.isascii()
    assert value.isprintable() or not value
    assert re.fullmatch(r"(?:[^\"\\\]]|\\[\"\\\]])*", value)
    back = re.sub(r"\\(.)", r"\1", value)
    assert not text.isascii() or not text.isprintable() or back == text


@given(st.text(max_size=500))
def test_host_text_comes_back_whole_from_json(text: str) -> None:
    event = an_event(a_finding(arguments=(Argument("line", text),)))

    message = encode(event, NOW, a_syslog(message_bytes_max=100_000))

    assert json.loads(parsed(message)["text"])["arguments"][0]["value"] == text


@given(st.lists(st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b" ")), max_size=8))
def test_frames_come_back_as_the_messages_they_were(messages: list[bytes]) -> None:
    whole = [message for message in messages if message]

    assert unframe(b"".join(map(frame, whole))) == (whole, b"")


@pytest.mark.parametrize("long_text", ["x" * 60_000, "\u202e" * 60_000, "\0" * 60_000])
def test_what_is_too_long_is_cut_and_says_so(long_text: str) -> None:
    event = long_event(long_text)

    for limit in (2048, 8192):
        message = encode(event, NOW, a_syslog(message_bytes_max=limit))

        said = json.loads(parsed(message)["text"])
        assert len(message) <= limit
        assert said["cut"] is True
        assert said["event_id"] == event.uid


def test_long_text_is_cut_before_anything_is_left_out() -> None:
    said = json.loads(parsed(encode(long_event("x" * 9000), NOW, a_syslog()))["text"])

    assert said["process"]["argv"][1].endswith(CUT_MARK)
    assert said["title"] == "Known bad file"


def test_a_message_that_fits_is_not_cut() -> None:
    said = json.loads(parsed(encode(an_event(), NOW, a_syslog()))["text"])

    assert "cut" not in said


@given(SEVERITIES, st.integers(0, 23))
def test_the_priority_is_facility_and_severity(severity: Severity, facility: int) -> None:
    event = an_event(a_finding(severity=severity))

    priority = int(parsed(encode(event, NOW, a_syslog(facility=facility)))["priority"])

    assert priority // 8 == facility
    assert priority % 8 == max(2, min(6, 7 - severity.rank))


def test_the_host_stands_in_the_header_as_printable_text() -> None:
    message = encode(an_event(host_name="web 1\n<0>evil"), NOW, a_syslog())

    assert parsed(message)["host"] == "web1<0>evil"


def test_a_nameless_host_is_a_dash() -> None:
    assert parsed(encode(an_event(host_name=""), NOW, a_syslog()))["host"] == "-"


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_time_is_a_timestamp(time: int) -> None:
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z", timestamp(time))


def test_a_timestamp_is_exact_to_the_microsecond() -> None:
    assert timestamp(1_790_000_000_123_456_789) == "2026-09-21T14:13:20.123456Z"


def long_event(text: str) -> Event:
    return an_event(
        a_finding(
            process=a_process(argv=("sh", text)), ancestry=tuple(a_process() for _ in range(8))
        )
    )


def test_the_format_is_a_setting() -> None:
    where: SyslogDestination = a_syslog(format="pairs")

    text = parsed(encode(an_event(), NOW, where))["text"]

    assert 'title="Known bad file"' in text
    assert "source.sensor=" in text
