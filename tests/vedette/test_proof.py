"""The laws of a proven record: all layers hold, or the one that does not is named."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.identity import TenantId, agent_id_of
from certs.signatures import SigningKey
from proto import codec, envelope, tlog
from proto.envelope import PayloadType
from proto.merkle import TreeHead
from proto.note import key_id
from proto.record_proof import RecordProof, encode_record_proof, parse_record_proof
from tests.proto.builders import a_finding, an_observation
from tests.vedette.builders import (
    AGENT_KEY,
    LOG_KEY,
    ORIGIN,
    a_checkpoint,
    a_header,
    a_proof_file,
    a_record_proof,
    a_trust,
    logged,
    records_around,
    sealed,
)
from vedette.proof import Layer, NotProven, prove

THIEF = SigningKey.from_private_bytes(bytes(range(2, 34)))
FINDING = codec.encode_record(a_finding())


def failing_layer(proof: tlog.LogProof, **trust: SigningKey | TenantId | str) -> Layer:
    with pytest.raises(NotProven) as failed:
        prove(tlog.encode_proof(proof), a_trust(**trust))  # type: ignore[arg-type]
    return failed.value.layer


def with_record_proof(**changes: object) -> tlog.LogProof:
    proof = logged(sealed())
    changed = msgspec.structs.replace(parse_record_proof(proof.extra), **changes)
    return msgspec.structs.replace(proof, extra=encode_record_proof(changed))


def test_a_finding_that_was_sealed_and_logged_is_proven() -> None:
    proven = prove(a_proof_file(), a_trust())

    assert proven.record == a_finding()
    assert proven.header.host_name == "web-1"
    assert proven.agent_key == AGENT_KEY.public
    assert proven.checkpoint.origin == ORIGIN
    assert proven.log_index == 3
    assert len(proven.log_key_ids) == 1


@pytest.mark.parametrize("index", range(9))
def test_it_is_proven_wherever_in_the_log_it_stands(index: int) -> None:
    proven = prove(tlog.encode_proof(logged(sealed(), index)), a_trust())

    assert proven.log_index == index


def test_another_kind_of_record_is_proven_too() -> None:
    observation = an_observation()

    proven = prove(tlog.encode_proof(logged(sealed(codec.encode_record(observation)))), a_trust())

    assert proven.record == observation


def test_that_an_agent_sealed_something_unreadable_is_proven_all_the_same() -> None:
    proven = prove(tlog.encode_proof(logged(sealed(b"\xff\xff"))), a_trust())

    assert proven.record is None
    assert proven.proof.record == b"\xff\xff"


def test_a_flipped_bit_anywhere_in_the_file_is_found() -> None:
    data = a_proof_file()
    trust = a_trust()

    for bit in range(0, 8 * len(data), 3):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotProven):
            prove(bytes(flipped), trust)


@pytest.mark.parametrize(
    ("field", "layer"),
    [
        ("record", Layer.RECORD),
        ("salt", Layer.RECORD),
        ("header", Layer.SIGNATURE),
        ("signature", Layer.SIGNATURE),
        ("public_key", Layer.SIGNATURE),
    ],
)
@given(st.data())
def test_a_flipped_bit_in_the_record_proof_is_found_in_its_layer(
    field: str, layer: Layer, data: st.DataObject
) -> None:
    value = bytearray(getattr(sealed(), field))
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    value[bit // 8] ^= 1 << bit % 8

    assert failing_layer(with_record_proof(**{field: bytes(value)})) is layer


@pytest.mark.parametrize("changes", [{"index": 1}, {"index": 4}, {"path": ()}])
def test_a_record_shown_at_another_place_of_its_batch_is_refused(
    changes: dict[str, object],
) -> None:
    assert failing_layer(with_record_proof(**changes)) is Layer.RECORD


@pytest.mark.parametrize("changes", [{"index": 2}, {"index": 9}, {"path": ()}])
def test_a_batch_shown_at_another_place_of_the_log_is_refused(
    changes: dict[str, object],
) -> None:
    proof = msgspec.structs.replace(logged(sealed()), **changes)

    assert failing_layer(proof) is Layer.LOG


def test_a_batch_that_was_never_logged_is_refused() -> None:
    unlogged = sealed(codec.encode_record(a_finding(title="Made up later")))

    proof = msgspec.structs.replace(logged(sealed()), extra=encode_record_proof(unlogged))

    assert failing_layer(proof) is Layer.LOG


def test_a_batch_with_another_valid_signature_is_not_the_one_logged() -> None:
    header = a_header(records_around(FINDING))
    first = a_record_proof(FINDING, codec.encode_header(header))
    again = msgspec.structs.replace(header, wall=header.wall + 1)
    second = a_record_proof(FINDING, codec.encode_header(again))

    proof = msgspec.structs.replace(logged(first), extra=encode_record_proof(second))

    assert failing_layer(proof) is Layer.LOG


def test_a_forger_with_a_key_of_his_own_does_not_pass_for_the_agent() -> None:
    header = codec.encode_header(a_header(records_around(FINDING)))

    forged = a_record_proof(FINDING, header, THIEF)

    assert failing_layer(logged(forged)) is Layer.AGENT


def test_a_key_id_of_another_key_is_refused() -> None:
    assert failing_layer(logged(sealed(key_id=bytes(32)))) is Layer.AGENT


def test_an_id_that_the_key_does_not_make_is_refused() -> None:
    other = agent_id_of(THIEF.public.raw).bytes

    assert failing_layer(logged(sealed(agent=other))) is Layer.AGENT


def test_a_batch_of_another_tenant_is_refused() -> None:
    assert failing_layer(logged(sealed(tenant=bytes(16)))) is Layer.AGENT
    assert failing_layer(logged(sealed()), tenant=TenantId(bytes(16))) is Layer.AGENT


def test_a_checkpoint_of_another_log_key_is_refused() -> None:
    assert failing_layer(logged(sealed(), log_key=THIEF)) is Layer.CHECKPOINT
    assert failing_layer(logged(sealed()), log_key=THIEF) is Layer.CHECKPOINT


def test_a_checkpoint_in_the_name_of_another_log_is_refused() -> None:
    elsewhere = ORIGIN.replace("vedette.example", "elsewhere.example")

    assert failing_layer(logged(sealed()), origin=elsewhere) is Layer.CHECKPOINT


def test_a_genuine_checkpoint_over_other_entries_is_refused() -> None:
    other = a_checkpoint(TreeHead(9, bytes(32)))

    proof = msgspec.structs.replace(logged(sealed()), checkpoint=other)

    assert failing_layer(proof) is Layer.LOG


def test_a_signature_over_a_receipt_does_not_pass_for_one_over_a_batch() -> None:
    proof = sealed()
    receipt = envelope.sign(PayloadType.RECEIPT, proof.header, AGENT_KEY)

    confused = msgspec.structs.replace(proof, signature=receipt)

    assert failing_layer(logged(confused)) is Layer.SIGNATURE


@pytest.mark.parametrize("version", [0, 2])
def test_a_header_of_a_version_we_cannot_judge_is_refused(version: int) -> None:
    assert failing_layer(logged(sealed(version=version))) is Layer.HEADER


def test_signed_bytes_that_are_no_header_are_refused() -> None:
    assert failing_layer(logged(a_record_proof(FINDING, b"\xff\xff"))) is Layer.HEADER


def test_a_key_that_verifies_more_than_its_owner_signed_is_refused() -> None:
    small_order = (1).to_bytes(32, "little")

    assert failing_layer(with_record_proof(public_key=small_order)) is Layer.SIGNATURE


def test_a_proof_file_of_another_application_is_refused() -> None:
    proof = logged(sealed())

    assert failing_layer(msgspec.structs.replace(proof, extra=b"age-v1.2.1")) is Layer.FILE
    assert failing_layer(msgspec.structs.replace(proof, extra=b"")) is Layer.FILE


def test_of_two_trusted_log_keys_the_one_that_signed_is_named() -> None:
    first, second = a_trust(THIEF), a_trust(LOG_KEY)
    trust = msgspec.structs.replace(first, log_keys=first.log_keys + second.log_keys)

    proven = prove(a_proof_file(), trust)

    assert proven.log_key_ids == (key_id(ORIGIN, LOG_KEY.public.raw),)


proofs = st.builds(
    RecordProof,
    record=st.one_of(st.just(FINDING), st.binary(max_size=50)),
    salt=st.binary(min_size=32, max_size=32),
    index=st.integers(0, 255),
    path=st.just(()),
    header=st.one_of(st.just(sealed().header), st.binary(max_size=50)),
    signature=st.one_of(st.just(sealed().signature), st.binary(max_size=64)),
    public_key=st.one_of(st.just(AGENT_KEY.public.raw), st.binary(min_size=32, max_size=32)),
)


@given(st.one_of(st.binary(max_size=200), proofs))
def test_any_proof_is_proven_or_our_error(made: bytes | RecordProof) -> None:
    data = made
    if isinstance(made, RecordProof):
        data = tlog.encode_proof(
            msgspec.structs.replace(logged(sealed()), extra=encode_record_proof(made))
        )
    assert isinstance(data, bytes)

    with pytest.raises(NotProven):
        prove(data, a_trust())
