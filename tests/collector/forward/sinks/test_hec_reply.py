"""Every answer of a HEC receiver falls in its class; any bytes are an answer or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.forward.errors import (
    ForwardError,
    SinkMisconfigured,
    SinkRejected,
    SinkUnavailable,
)
from collector.forward.sinks.hec_reply import judge, parse_acks, parse_reply, retry_after_s

CONFIGURATION = [
    *[(403, 1), (401, 2), (401, 3), (403, 4), (400, 7), (400, 10), (400, 11)],
    *[(400, 14), (400, 16), (400, 21), (400, 22)],
]
DATA = [(400, 5), (400, 6), (400, 12), (400, 13), (400, 15)]
TRANSIENT = [(500, 8), (503, 9), (503, 18), (503, 19), (503, 20), (503, 23), (429, 26)]


def said(code: int) -> bytes:
    return b'{"text":"what it says","code":%d,"invalid-event-number":3}' % code


@pytest.mark.parametrize(("status", "code"), CONFIGURATION)
def test_a_code_about_token_index_or_channel_is_ours_to_set_right(status: int, code: int) -> None:
    with pytest.raises(SinkMisconfigured, match="what it says") as raised:
        judge(status, said(code))

    assert raised.value.hint


@pytest.mark.parametrize(("status", "code"), DATA)
def test_a_code_about_an_event_names_it(status: int, code: int) -> None:
    with pytest.raises(SinkRejected) as raised:
        judge(status, said(code))

    assert raised.value.index == 3


@pytest.mark.parametrize(("status", "code"), TRANSIENT)
def test_a_busy_or_failing_receiver_is_tried_again(status: int, code: int) -> None:
    with pytest.raises(SinkUnavailable) as raised:
        judge(status, said(code), retry_after_s=7)

    assert raised.value.retry_after_s == 7


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 504])
def test_without_a_code_the_status_decides(status: int) -> None:
    with pytest.raises(SinkUnavailable):
        judge(status, b"<html>bad gateway</html>")


@pytest.mark.parametrize("status", [200, 204, 301, 302, 400, 401, 403, 404, 405])
def test_what_is_no_hec_receiver_never_counts_as_delivery(status: int) -> None:
    with pytest.raises(SinkMisconfigured, match="url"):
        judge(status, b"<html>welcome</html>")


def test_a_payload_that_is_too_large_is_a_matter_of_its_events() -> None:
    with pytest.raises(SinkRejected) as raised:
        judge(413, b"<html>too large</html>")

    assert raised.value.index is None


def test_success_is_status_200_with_code_0() -> None:
    reply = judge(200, b'{"text":"Success","code":0,"ackId":5}')

    assert reply.ack_id == 5


def test_200_with_another_code_is_no_success() -> None:
    with pytest.raises(ForwardError):
        judge(200, b'{"text":"HEC is healthy","code":17}')


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_answer_is_success_or_one_of_our_errors(status: int, body: bytes) -> None:
    try:
        judge(status, body)
    except ForwardError as error:
        said = str(error)
    else:
        said = "success"

    assert said.isprintable()
    assert said != "success" or status == 200


@given(st.binary(max_size=300))
def test_any_bytes_are_a_reply_or_none(body: bytes) -> None:
    for parse in (parse_reply, parse_acks):
        parse(body)


def test_deep_nesting_is_no_reply() -> None:
    assert parse_reply(b"[" * 60_000) is None
    assert parse_reply(b'{"code":' + b"[" * 60_000) is None


@pytest.mark.parametrize(
    "body", [b'{"acks":{"1":"true"}}', b'{"acks":[1]}', b'{"acks":{"one":true}}', b"<html>", b""]
)
def test_an_acknowledgement_is_plain_or_none(body: bytes) -> None:
    assert parse_acks(body) is None


def test_acknowledgements_are_read_by_id() -> None:
    assert parse_acks(b'{"acks":{"1":true,"2":false}}') == {1: True, 2: False}


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("120", 120),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("", 0),
        ("-5", 0),
        ("soon", 0),
        ("9" * 400, 999_999_999),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, wait_s: float) -> None:
    assert retry_after_s(header, now_s=1000) == wait_s


def test_a_receiver_cannot_make_us_wait_for_more_than_an_hour() -> None:
    assert SinkUnavailable("busy", retry_after_s=999_999_999).retry_after_s == 3600


@given(st.text(max_size=60))
def test_any_retry_after_is_a_number(header: str) -> None:
    assert retry_after_s(header, now_s=1000) >= 0
