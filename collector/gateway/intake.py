"""The road of a sealed batch: checked as it comes, kept with others, receipted after the commit.

What is checked here needs only the header: identity, sizes, the key it names, the signature over
its exact bytes, the digest of the body, and that it does not contradict itself. Replies stand in
the order of what they answer: one receipt for each epoch and commit, and a refusal only after
everything that came before it has been answered.
"""

import hashlib

from certs.identity import PeerIdentity
from collector.gateway.enforcement import Session
from collector.gateway.messages import Envelope, parse_envelope
from collector.ledger.chain import check_header
from collector.ledger.ports import SealedBatch
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.errors import EnvelopeRejected, RejectReason, WireError
from proto.model import RAW_BYTES_MAX, RECORDS_MAX, Header, RefusedReason
from runtime.errors import VedetteError

# zlib adds at most 5 bytes for each 16 KiB that it cannot press.
BODY_BYTES_MAX = RAW_BYTES_MAX + RAW_BYTES_MAX // 1024 + 64

_REASONS = {
    RejectReason.IDENTITY: RefusedReason.IDENTITY,
    RejectReason.SIZE: RefusedReason.SIZE,
    RejectReason.SIGNATURE: RefusedReason.SIGNATURE,
    RejectReason.DIGEST: RefusedReason.DIGEST,
}


class BatchRefused(VedetteError):
    """A batch cannot be kept.

    Args:
        reason: why.
        header_hash: which; empty where that could not be read.
        message: what is wrong, in one lower-case clause.
    """

    def __init__(self, reason: RefusedReason, header_hash: bytes, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.header_hash = header_hash


def receive(data: bytes, session: Session, now: int) -> SealedBatch:
    """Return the batch in a message, after everything that its header tells was checked.

    Args:
        data: untrusted bytes.
        session: who sent it, and by which key it must be signed.
        now: nanoseconds UTC.

    Raises:
        BatchRefused: it cannot be kept, now or ever.
    """
    header_hash = b""
    try:
        sent = parse_envelope(data)
        header_hash = envelope.header_hash(PayloadType.BATCH, sent.header)
        header = codec.decode_header(sent.header)
        _check_identity(header, session.identity)
        _check_sizes(header, sent.body)
        if header.key_id != session.key_id:
            raise BatchRefused(
                RefusedReason.UNKNOWN_KEY, header_hash, "the header names a key not enrolled"
            )
        envelope.verify(PayloadType.BATCH, sent.header, sent.signature, session.key)
        _check_digest(header, sent)
        check_header(header)
    except WireError as error:
        reason = _REASONS.get(error.reason, RefusedReason.MALFORMED)
        raise BatchRefused(reason, header_hash, error.message) from error
    return SealedBatch(
        header=header,
        header_bytes=sent.header,
        header_hash=header_hash,
        signature=sent.signature,
        body=sent.body,
        public_key=session.key.raw,
        received=now,
    )


def _check_identity(header: Header, peer: PeerIdentity) -> None:
    if header.tenant != peer.tenant.bytes or header.agent != peer.agent.bytes:
        raise EnvelopeRejected(
            RejectReason.IDENTITY, "the header names another agent than the certificate"
        )


def _check_sizes(header: Header, body: bytes) -> None:
    if len(body) > BODY_BYTES_MAX or header.raw_bytes > RAW_BYTES_MAX:
        raise EnvelopeRejected(RejectReason.SIZE, "the body is too large")
    if header.records > RECORDS_MAX:
        raise EnvelopeRejected(RejectReason.SIZE, "the batch has too many records")
    if header.body_bytes != len(body):
        raise EnvelopeRejected(RejectReason.SIZE, "the body does not have the size stated")


def _check_digest(header: Header, sent: Envelope) -> None:
    if hashlib.sha256(sent.body).digest() != header.body_sha256:
        raise EnvelopeRejected(RejectReason.DIGEST, "the body is not the one that was signed")
