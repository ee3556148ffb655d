from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from proto import codec, model
from proto.errors import Malformed, TooLarge, WireError
from proto.vedette.v1 import record_pb2
from proto.vedette.v1.envelope_pb2 import Reply
from tests.proto.builders import a_finding, a_process, values_of

RECORDS = [
    model.Finding,
    model.Observation,
    model.InventoryItem,
    model.Observable,
    model.Evidence,
    model.Health,
    model.Drop,
    model.Incident,
    model.Score,
    model.Audit,
]


@pytest.mark.parametrize("struct", RECORDS, ids=lambda struct: struct.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_every_record_survives_the_wire(struct: type, data: st.DataObject) -> None:
    record = cast("model.Record", data.draw(values_of(struct)))

    decoded, newer = codec.decode_record(codec.encode_record(record))

    assert decoded == record
    assert not newer


@settings(max_examples=20)
@given(values_of(model.Header))
def test_a_header_survives_the_wire(header: model.Header) -> None:
    assert codec.decode_header(codec.encode_header(header)) == header


@settings(max_examples=20)
@given(values_of(model.Receipt), values_of(model.Statement))
def test_what_is_signed_besides_batches_survives_the_wire(
    receipt: model.Receipt, statement: model.Statement
) -> None:
    assert codec.decode_receipt(codec.encode_receipt(receipt)) == receipt
    assert codec.decode_statement(codec.encode_statement(statement)) == statement


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_our_error(data: bytes) -> None:
    for decode in (
        codec.decode_record,
        codec.decode_header,
        codec.decode_body,
        codec.decode_receipt,
        codec.decode_statement,
    ):
        try:
            decode(data)
        except WireError:
            continue


@given(st.data())
def test_a_damaged_record_gives_a_value_or_our_error(data: st.DataObject) -> None:
    raw = bytearray(codec.encode_record(a_finding(process=a_process())))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    try:
        codec.decode_record(bytes(raw))
    except WireError:
        return


def test_none_and_not_collected_stay_apart() -> None:
    process = a_process(tty=None, cwd=UNSET)

    decoded, _ = codec.decode_record(codec.encode_record(a_finding(process=process)))

    assert isinstance(decoded, model.Finding)
    assert decoded.process is not None
    assert decoded.process.tty is None
    assert decoded.process.cwd is UNSET


def test_a_field_we_do_not_know_is_reported_as_newer() -> None:
    raw = codec.encode_record(a_finding())
    inner = record_pb2.Record.FromString(raw).finding.SerializeToString() + b"\xba\x3e\x01x"
    outer = record_pb2.Record()
    outer.finding.MergeFromString(inner)

    decoded, newer = codec.decode_record(outer.SerializeToString())

    assert decoded == a_finding()
    assert newer


def test_an_enum_value_we_do_not_know_is_reported_as_newer() -> None:
    outer = record_pb2.Record.FromString(codec.encode_record(a_finding()))
    outer.finding.severity = 99  # type: ignore[assignment]

    decoded, newer = codec.decode_record(outer.SerializeToString())

    assert isinstance(decoded, model.Finding)
    assert decoded.severity is model.Severity.UNSPECIFIED
    assert newer


def test_a_record_kind_we_do_not_know_is_kept_for_later() -> None:
    assert codec.decode_record(b"\xa2\x06\x03abc") == (None, True)


@pytest.mark.parametrize("raw", [b"", b"\x0a", b"\xff\xff", b"\x0a\x02\x08\x01"])
def test_a_record_without_its_parts_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode_record(raw)


def test_a_value_over_its_limit_is_refused_in_both_directions() -> None:
    with pytest.raises(TooLarge):
        codec.encode_record(a_finding(title="x" * 257))
    outer = record_pb2.Record.FromString(codec.encode_record(a_finding()))
    outer.finding.title = "x" * 257

    with pytest.raises(TooLarge):
        codec.decode_record(outer.SerializeToString())


def test_a_value_that_no_wire_type_holds_is_our_error() -> None:
    with pytest.raises(Malformed):
        codec.encode_record(a_finding(confidence=-1))
    with pytest.raises(Malformed):
        codec.encode_record(a_finding(title="\ud800"))


def test_a_body_is_bounded_in_records_and_bytes() -> None:
    with pytest.raises(TooLarge):
        codec.encode_body(model.Body(seed=bytes(32), records=(b"x",) * 257))
    with pytest.raises(TooLarge):
        codec.encode_body(model.Body(seed=bytes(32), records=(bytes(600_000),) * 2))
    with pytest.raises(Malformed):
        codec.decode_body(record_pb2.Body(seed=b"short").SerializeToString())
    with pytest.raises(TooLarge):
        codec.decode_body(bytes(model.RAW_BYTES_MAX + 1))


def test_a_body_gives_back_the_exact_bytes_of_its_records() -> None:
    body = model.Body(seed=bytes(range(32)), records=(b"\x0a\x00", b"not even protobuf"))

    assert codec.decode_body(codec.encode_body(body)) == body


@given(st.binary(max_size=200))
def test_any_bytes_give_a_service_message_or_our_own_error(data: bytes) -> None:
    try:
        message = codec.parse_message(Reply, data, size_bytes_max=150)
    except WireError as error:
        assert isinstance(error, TooLarge) == (len(data) > 150)  # noqa: PT017  (both are right)
    else:
        assert codec.parse_message(Reply, message.SerializeToString(), 1000) == message
