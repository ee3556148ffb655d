"""What a batch must be to be handed to the ledger; every attack here has a valid certificate."""

import hashlib
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from certs.identity import PeerIdentity
from certs.leaf import PeerCertificate
from collector.gateway.enforcement import Session
from collector.gateway.intake import BODY_BYTES_MAX, BatchRefused, receive
from collector.gateway.registry import Registry, Row, Watched
from collector.issuer.agents import State
from collector.ledger.ports import SealedBatch
from proto import codec
from proto.envelope import PayloadType, pae
from proto.model import RAW_BYTES_MAX, RefusedReason
from proto.vedette.v1.envelope_pb2 import Envelope
from tests.collector.sealing import NOW, OTHER_TENANT, TENANT, AnAgent, a_key, signed
from tests.fakes.clock import FakeClock


def a_session(agent: AnAgent) -> Session:
    peer = PeerCertificate(
        identity=PeerIdentity(TENANT, agent.id),
        serial=1,
        not_before_ns=0,
        not_after_ns=1 << 62,
        issuer_fingerprint=b"",
        spki_sha256=b"",
    )
    row = Row(
        key=agent.key.public,
        serials=frozenset(),
        next_serial=b"",
        state=State.ACTIVE,
        revision=1,
    )
    return Session(peer, row, Watched(), Registry(FakeClock(), 60), FakeClock())


AGENT = AnAgent()
SESSION = a_session(AGENT)
BATCH = AGENT.seal([b"record"])


def message(batch: SealedBatch, **changes: bytes) -> bytes:
    parts = {"header": batch.header_bytes, "signature": batch.signature, "body": batch.body}
    return Envelope(**(parts | changes)).SerializeToString()


def refused(data: bytes, session: Session = SESSION) -> RefusedReason:
    with pytest.raises(BatchRefused) as caught:
        receive(data, session, NOW)
    return caught.value.reason


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at // 8 % len(data)] ^= 1 << at % 8
    return bytes(changed)


def test_what_was_sealed_is_handed_on_byte_for_byte() -> None:
    found = receive(message(BATCH), SESSION, NOW)

    assert found == structs.replace(BATCH, received=NOW)


@given(st.integers(0, 8 * 10_000))
def test_no_flipped_bit_of_a_header_gets_through(at: int) -> None:
    refused(message(BATCH, header=flipped(BATCH.header_bytes, at)))


@given(st.integers(0, 8 * 64 - 1))
def test_no_flipped_bit_of_a_signature_gets_through(at: int) -> None:
    data = message(BATCH, signature=flipped(BATCH.signature, at))

    assert refused(data) is RefusedReason.SIGNATURE


@given(st.integers(0, 8 * 10_000))
def test_no_flipped_bit_of_a_body_gets_through(at: int) -> None:
    assert refused(message(BATCH, body=flipped(BATCH.body, at))) is RefusedReason.DIGEST


@given(st.binary(max_size=400))
def test_any_message_is_a_batch_or_refused(data: bytes) -> None:
    refused(data)


@given(st.binary(max_size=400))
def test_any_header_is_refused_unless_its_agent_signed_it(data: bytes) -> None:
    refused(message(BATCH, header=data))


def test_the_same_header_with_another_body_of_its_size_is_a_rejected_digest() -> None:
    other = bytes(len(BATCH.body))

    assert refused(message(BATCH, body=other)) is RefusedReason.DIGEST


@pytest.mark.parametrize(
    "changes", [{"tenant": OTHER_TENANT.bytes}, {"agent": AnAgent(1).id.bytes}]
)
def test_a_header_in_another_name_is_refused_however_well_it_is_signed(
    changes: dict[str, Any],
) -> None:
    assert refused(message(AGENT.twin().seal(**changes))) is RefusedReason.IDENTITY


def test_another_agents_batch_is_refused_on_this_ones_connection() -> None:
    assert refused(message(AnAgent(1).seal())) is RefusedReason.IDENTITY


def test_the_key_comes_from_enrolment_and_never_from_the_message() -> None:
    stranger = a_key("stranger")
    own = structs.replace(BATCH.header, key_id=stranger.public.key_id)
    forged = signed(own, BATCH.body, stranger)
    disguised = signed(BATCH.header, BATCH.body, stranger)

    assert refused(message(forged)) is RefusedReason.UNKNOWN_KEY
    assert refused(message(disguised)) is RefusedReason.SIGNATURE


def test_a_signature_over_the_header_as_something_else_is_refused() -> None:
    other = AGENT.key.sign(pae(PayloadType.RECEIPT, BATCH.header_bytes))

    assert refused(message(BATCH, signature=other)) is RefusedReason.SIGNATURE


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_bytes": RAW_BYTES_MAX + 1},
        {"records": 257},
        {"body_bytes": 1},
    ],
)
def test_sizes_over_a_limit_or_untrue_are_refused(changes: dict[str, Any]) -> None:
    assert refused(message(AGENT.twin().seal(**changes))) is RefusedReason.SIZE


def test_a_giant_body_is_refused_before_it_is_hashed() -> None:
    body = bytes(BODY_BYTES_MAX + 1)
    header = structs.replace(
        BATCH.header, body_bytes=len(body), body_sha256=hashlib.sha256(body).digest()
    )

    assert refused(message(signed(header, body, AGENT.key))) is RefusedReason.SIZE


def test_a_body_that_could_not_be_pressed_still_fits() -> None:
    assert len(zlib.compress(bytes(range(256)) * (RAW_BYTES_MAX // 256), 0)) <= BODY_BYTES_MAX


def test_a_header_that_contradicts_itself_is_malformed() -> None:
    assert refused(message(AGENT.twin().seal(seq=0))) is RefusedReason.MALFORMED
    assert refused(message(AGENT.twin().seal(version=2))) is RefusedReason.MALFORMED


def test_a_refusal_names_the_header_it_is_of() -> None:
    with pytest.raises(BatchRefused) as caught:
        receive(message(BATCH, body=b""), SESSION, NOW)

    assert caught.value.header_hash == BATCH.header_hash
    assert codec.decode_header(BATCH.header_bytes).body_bytes == len(BATCH.body)
