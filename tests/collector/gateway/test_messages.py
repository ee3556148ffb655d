from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.gateway import messages
from collector.ledger.receipts import SignedReceipt
from proto.errors import Malformed, TooLarge, WireError
from proto.model import MESSAGE_BYTES_MAX, HintKind, RefusedReason
from proto.vedette.v1 import envelope_pb2, service_pb2

PARSERS = [
    messages.parse_envelope,
    messages.parse_begin,
    messages.parse_enroll,
    messages.parse_reattest,
    messages.parse_renew,
    messages.parse_get,
    messages.parse_proof,
    messages.parse_consistency,
    messages.parse_health,
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_value_or_our_own_error(
    parse: Callable[[bytes], object], data: bytes
) -> None:
    try:
        parse(data)
    except WireError as error:
        assert isinstance(error, Malformed)  # noqa: PT017  (both ends are right)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
def test_what_is_over_its_limit_is_not_parsed(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(TooLarge):
        parse(bytes(MESSAGE_BYTES_MAX + 1))


def test_an_envelope_keeps_its_exact_bytes() -> None:
    sent = envelope_pb2.Envelope(header=b"h\x00", signature=b"s", body=b"b" * 1000)

    found = messages.parse_envelope(sent.SerializeToString())

    assert found == messages.Envelope(b"h\x00", b"s", b"b" * 1000)


def test_every_reason_and_hint_has_its_own_number_on_the_wire() -> None:
    reasons = {
        envelope_pb2.Reply.FromString(
            messages.refused_reply(reason, b"h" * 32, None)
        ).refused.reason
        for reason in RefusedReason
    }
    hints = {
        envelope_pb2.Reply.FromString(messages.hint_reply(kind)).hint.kind for kind in HintKind
    }

    assert len(reasons) == len(RefusedReason)
    assert len(hints) == len(HintKind)


def test_a_refusal_says_whether_and_when_to_come_again() -> None:
    final = messages.refused_reply(RefusedReason.DIGEST, b"h" * 32, None)
    later = messages.refused_reply(RefusedReason.STORAGE, b"h" * 32, 5)

    refused = [envelope_pb2.Reply.FromString(one).refused for one in (final, later)]

    assert [(one.retry, one.retry_after) for one in refused] == [(False, 0), (True, 5)]


def test_replies_and_answers_are_what_the_schema_says() -> None:
    receipt = messages.receipt_reply(SignedReceipt(b"p", b"s", b"k"))
    resume = messages.resume_reply(b"e" * 16, 7)

    assert envelope_pb2.Reply.FromString(receipt).receipt.payload == b"p"
    assert envelope_pb2.Reply.FromString(resume).resume.seq == 7
    chunk = service_pb2.Chunk.FromString(messages.chunk_response(b"data", 9))
    assert (chunk.data, chunk.total) == (b"data", 9)
    certificate = service_pb2.Certificate.FromString(
        messages.certificate_response(b"chain", b"a" * 16, 3, 4)
    )
    assert (certificate.not_after, certificate.generation) == (3, 4)
    proof = service_pb2.ProofResponse.FromString(messages.proof_response(1, [b"x"], b"note"))
    assert (proof.index, list(proof.hashes), proof.checkpoint) == (1, [b"x"], b"note")


def test_health_is_told_in_the_standard_words() -> None:
    assert messages.health_response(serving=True) == b"\x08\x01"
    assert messages.health_response(serving=False) == b"\x08\x02"
    assert messages.parse_health(b"") == ""
