"""The laws of signatures over exact bytes."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.p256 import P256VerifyKey
from certs.signatures import SigningKey
from proto import envelope
from proto.envelope import PayloadType
from proto.errors import EnvelopeRejected, RejectReason

KEY = SigningKey.from_private_bytes(bytes(range(32)))
OTHER = SigningKey.from_private_bytes(bytes(range(1, 33)))

# The published vector of DSSE (protocol.md).
DSSE_TYPE = "http://example.com/HelloWorld"
DSSE_X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
DSSE_Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
DSSE_SIGNATURE = (
    "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
)
SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


def der_of(raw: bytes) -> bytes:
    parts = b""
    for half in (raw[:32], raw[32:]):
        number = int.from_bytes(half, "big")
        body = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts += bytes([2, len(body)]) + body
    return bytes([0x30, len(parts)]) + parts


def test_the_published_vector_has_the_published_encoding() -> None:
    encoded = envelope.pae(DSSE_TYPE, b"hello world")

    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_published_signature_verifies_over_our_encoding() -> None:
    point = DSSE_X.to_bytes(32, "big") + DSSE_Y.to_bytes(32, "big")
    key = P256VerifyKey.from_spki(SPKI_P256 + point)
    signature = der_of(base64.b64decode(DSSE_SIGNATURE))

    key.verify(signature, envelope.pae(DSSE_TYPE, b"hello world"))


def test_lengths_count_bytes_and_not_characters() -> None:
    encoded = envelope.pae("ty\N{LATIN SMALL LETTER E WITH ACUTE}", b"\x00\xff")

    assert encoded == b"DSSEv1 4 ty\xc3\xa9 2 \x00\xff"


@given(st.text(), st.binary(), st.text(), st.binary())
def test_two_different_things_never_have_one_encoding(
    kind: str, payload: bytes, other_kind: str, other_payload: bytes
) -> None:
    same = (kind, payload) == (other_kind, other_payload)

    assert (envelope.pae(kind, payload) == envelope.pae(other_kind, other_payload)) is same


def test_the_hash_of_a_header_is_over_its_encoding_with_its_type() -> None:
    digest = envelope.header_hash(PayloadType.BATCH, b"header")

    assert digest == hashlib.sha256(envelope.pae(PayloadType.BATCH.value, b"header")).digest()
    assert digest.hex() == "b773fe9a4c112ce4797162f5dafb1d71d4ee88c44abd4db48855ea3b805ec501"
    assert digest != envelope.header_hash(PayloadType.RECEIPT, b"header")


@given(st.sampled_from(PayloadType), st.binary(min_size=1, max_size=300))
def test_what_was_signed_verifies(kind: PayloadType, payload: bytes) -> None:
    signature = envelope.sign(kind, payload, KEY)

    envelope.verify(kind, payload, signature, KEY.public)


@pytest.mark.parametrize("signed_as", list(PayloadType))
@pytest.mark.parametrize("shown_as", list(PayloadType))
def test_a_signature_of_one_type_is_worthless_as_another(
    signed_as: PayloadType, shown_as: PayloadType
) -> None:
    signature = envelope.sign(signed_as, b"payload", KEY)

    if signed_as is shown_as:
        envelope.verify(shown_as, b"payload", signature, KEY.public)
        return
    with pytest.raises(EnvelopeRejected) as rejected:
        envelope.verify(shown_as, b"payload", signature, KEY.public)

    assert rejected.value.reason is RejectReason.SIGNATURE


@given(st.data())
def test_one_flipped_bit_in_payload_or_signature_is_found(data: st.DataObject) -> None:
    payload = b"a header of some bytes"
    signature = envelope.sign(PayloadType.BATCH, payload, KEY)
    both = bytearray(payload + signature)
    bit = data.draw(st.integers(0, 8 * len(both) - 1))
    both[bit // 8] ^= 1 << bit % 8

    with pytest.raises(EnvelopeRejected) as rejected:
        envelope.verify(
            PayloadType.BATCH,
            bytes(both[: len(payload)]),
            bytes(both[len(payload) :]),
            KEY.public,
        )

    assert rejected.value.reason is RejectReason.SIGNATURE


def test_the_signature_of_another_key_is_refused() -> None:
    signature = envelope.sign(PayloadType.BATCH, b"payload", OTHER)

    with pytest.raises(EnvelopeRejected) as rejected:
        envelope.verify(PayloadType.BATCH, b"payload", signature, KEY.public)

    assert rejected.value.reason is RejectReason.SIGNATURE


@pytest.mark.parametrize("size", [0, envelope.PAYLOAD_SIZE_BYTES_MAX + 1])
def test_an_empty_or_oversize_payload_is_neither_signed_nor_verified(size: int) -> None:
    payload = bytes(size)
    signature = KEY.sign(envelope.pae(PayloadType.BATCH, payload))

    with pytest.raises(EnvelopeRejected) as not_signed:
        envelope.sign(PayloadType.BATCH, payload, KEY)
    with pytest.raises(EnvelopeRejected) as not_verified:
        envelope.verify(PayloadType.BATCH, payload, signature, KEY.public)

    assert not_signed.value.reason is RejectReason.SIZE
    assert not_verified.value.reason is RejectReason.SIZE


@pytest.mark.parametrize("size", [0, envelope.SIGNATURE_SIZE_BYTES_MAX + 1])
def test_an_empty_or_oversize_signature_is_refused_unread(size: int) -> None:
    with pytest.raises(EnvelopeRejected) as rejected:
        envelope.verify(PayloadType.BATCH, b"payload", bytes(size), KEY.public)

    assert rejected.value.reason is RejectReason.SIZE


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_refused_by_our_own_error(payload: bytes, signature: bytes) -> None:
    with pytest.raises(EnvelopeRejected):
        envelope.verify(PayloadType.RECEIPT, payload, signature, KEY.public)
