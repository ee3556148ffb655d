import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.auditfields import (
    TEXT_BYTES_MAX,
    AuditError,
    fields_of,
    number,
    parse_part,
    plain,
)
from tests.agent.sense.sensors.auditwire import a_value


def test_a_record_has_a_number_and_a_time_exact_to_a_millisecond() -> None:
    part = parse_part(1300, b"audit(1364481363.243:24287): arch=c000003e syscall=59\n\0")

    assert (part.kind, part.serial) == (1300, 24287)
    assert part.wall_ns == 1_364_481_363_243_000_000
    assert part.text == b"arch=c000003e syscall=59"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"audit(): ",
        b"audit(1.2:3): ",
        b"audit(1.234:99999999999): ",
        b"audit(1.234:4294967296): ",
        b"audit(1.234:5): " + bytes(TEXT_BYTES_MAX),
    ],
)
def test_a_record_without_a_stamp_or_too_long_is_refused(text: bytes) -> None:
    with pytest.raises(AuditError):
        parse_part(1300, text)


def test_the_first_field_of_a_name_counts() -> None:
    fields = fields_of(b'pid=7 comm="x" subj=label (enforce) pid=1 key=(null)')

    assert fields[b"pid"] == b"7"


@given(st.binary(max_size=200))
def test_what_a_stranger_chose_comes_back_as_it_was(data: bytes) -> None:
    assert plain(a_value(data)) == (data or b"")
    assert b" " not in a_value(data)


@given(st.binary(max_size=64))
def test_any_value_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(AuditError):
        plain(data)
    number(data)
    fields_of(data)


@given(st.binary(max_size=200), st.integers(0, 65_535))
def test_any_bytes_are_a_record_or_refused(data: bytes, kind: int) -> None:
    with contextlib.suppress(AuditError):
        parse_part(kind, data)


@pytest.mark.parametrize("value", [b"(null)", b"(none)", b"?", None])
def test_no_value_is_none(value: bytes | None) -> None:
    assert plain(value) is None


@pytest.mark.parametrize("value", [b'"open', b'"', b"xyz", b"4", b'"a"b"'])
def test_a_value_written_in_no_known_way_is_refused(value: bytes) -> None:
    with pytest.raises(AuditError):
        plain(value)


def test_the_highest_id_means_nobody() -> None:
    assert number(b"4294967295") is None
    assert number(b"4294967294") == 4_294_967_294
    assert number(b"-1") is None
    assert number(None) is None
