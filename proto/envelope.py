"""Signatures over exact bytes: DSSE pre-authentication encoding, strict on both sides.

A protobuf message has many encodings, so nothing is ever serialised again to be checked: the bytes
that were signed are the bytes that are stored, sent and verified. What they are is signed with
them: a receipt can never pass as a batch header, because the payload type is part of what is
signed.

Rules, in order:

1. The payload type is one of ours; the caller names the type it expects, never the sender.
2. Payload and signature are neither empty nor over their limits.
3. The signature is over ``PAE(type, payload)`` and nothing else. There is no key id inside: which
   key to use is decided by the caller, from what it knows.

Source: secure-systems-lab/dsse, protocol.md v1.0.2.
"""

import enum
import hashlib
from typing import Protocol

from certs.errors import BadSignature
from proto.errors import EnvelopeRejected, RejectReason

PAYLOAD_SIZE_BYTES_MAX = 64 * 1024
SIGNATURE_SIZE_BYTES_MAX = 128


class PayloadType(enum.StrEnum):
    """Everything that is ever signed as an envelope; a new kind of payload is a new type."""

    BATCH = "application/vnd.vedette.batch.v1+protobuf"
    RECEIPT = "application/vnd.vedette.receipt.v1+protobuf"
    STATEMENT = "application/vnd.vedette.statement.v1+protobuf"
    REFUSAL = "application/vnd.vedette.refusal.v1+protobuf"


class Signer(Protocol):
    """A private key that signs bytes."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature over exactly ``data``."""
        ...


class Verifier(Protocol):
    """A public key that checks signatures."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return only when ``signature`` is this key's over exactly ``data``.

        Raises:
            BadSignature: it is not.
        """
        ...


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that DSSE signs for a payload of this type."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def header_hash(payload_type: PayloadType, payload: bytes) -> bytes:
    """Return SHA-256 of the PAE: the name of a header in chains, receipts and drop records."""
    return hashlib.sha256(pae(payload_type, payload)).digest()


def sign(payload_type: PayloadType, payload: bytes, signer: Signer) -> bytes:
    """Sign the payload as what it is.

    Raises:
        EnvelopeRejected: the payload is empty or over its limit, so nobody would accept it.
    """
    _check_payload(payload)
    return signer.sign(pae(payload_type, payload))


def verify(payload_type: PayloadType, payload: bytes, signature: bytes, key: Verifier) -> None:
    """Check that the key signed exactly this payload, as exactly this type.

    Args:
        payload_type: what the caller expects, from its own code.
        payload: untrusted bytes, as received.
        signature: untrusted bytes, as received.
        key: the signer's public key, found by other means than this envelope.

    Raises:
        EnvelopeRejected: with reason SIZE when something is empty or over its limit, SIGNATURE when
            the signature is not this key's over this payload and type.
    """
    _check_payload(payload)
    if not 0 < len(signature) <= SIGNATURE_SIZE_BYTES_MAX:
        raise EnvelopeRejected(
            RejectReason.SIZE,
            f"signature has {len(signature)} bytes, not 1 to {SIGNATURE_SIZE_BYTES_MAX}",
        )
    try:
        key.verify(signature, pae(payload_type, payload))
    except BadSignature as error:
        raise EnvelopeRejected(
            RejectReason.SIGNATURE,
            f"the signature is not this key's over this {payload_type.name.lower()}",
        ) from error


def _check_payload(payload: bytes) -> None:
    if not 0 < len(payload) <= PAYLOAD_SIZE_BYTES_MAX:
        raise EnvelopeRejected(
            RejectReason.SIZE,
            f"payload has {len(payload)} bytes, not 1 to {PAYLOAD_SIZE_BYTES_MAX}",
        )
