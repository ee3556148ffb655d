"""The service's messages between bytes and what the gateway works with.

The one place here that knows generated code. Any bytes give a value or one of `proto.errors`.
"""

from collections.abc import Sequence

from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # ships none
from msgspec import Struct

from collector.ledger.receipts import SignedReceipt
from proto.codec import parse_message
from proto.model import MESSAGE_BYTES_MAX, HintKind, RefusedReason
from proto.vedette.v1 import envelope_pb2, service_pb2

_REFUSED = {
    reason: envelope_pb2.RefusedReason.Value(f"REFUSED_REASON_{reason.name}")
    for reason in RefusedReason
}
_HINTS = {kind: envelope_pb2.HintKind.Value(f"HINT_KIND_{kind.name}") for kind in HintKind}
_REQUEST_BYTES_MAX = 32 * 1024


class Envelope(Struct, frozen=True):
    """A sealed batch as it comes; nothing in it is verified."""

    header: bytes
    signature: bytes
    body: bytes


class Statement(Struct, frozen=True):
    """A certificate request with what the agent's signing key says of it; nothing is verified."""

    csr: bytes
    payload: bytes
    signature: bytes
    secret: bytes = b""


def parse_envelope(data: bytes) -> Envelope:
    """Decode a message of the batch stream.

    Args:
        data: untrusted bytes.

    Raises:
        TooLarge: over the limit.
        Malformed: not an envelope.
    """
    message = parse_message(envelope_pb2.Envelope, data, MESSAGE_BYTES_MAX)
    return Envelope(message.header, message.signature, message.body)


def receipt_reply(receipt: SignedReceipt) -> bytes:
    """Return a receipt as a reply."""
    signed = envelope_pb2.SignedReceipt(
        payload=receipt.payload, signature=receipt.signature, key_id=receipt.key_id
    )
    return envelope_pb2.Reply(receipt=signed).SerializeToString()


def resume_reply(epoch: bytes, seq: int) -> bytes:
    """Return the wish for an epoch's batches from ``seq`` on."""
    return envelope_pb2.Reply(resume=envelope_pb2.Resume(epoch=epoch, seq=seq)).SerializeToString()


def refused_reply(reason: RefusedReason, header_hash: bytes, retry_after_ns: int | None) -> bytes:
    """Return the word that a batch was not kept.

    Args:
        reason: why.
        header_hash: which; empty where that could not be read.
        retry_after_ns: when it may come again; None for never.
    """
    refused = envelope_pb2.Refused(
        reason=_REFUSED[reason],
        retry=retry_after_ns is not None,
        retry_after=retry_after_ns or 0,
        header_hash=header_hash,
    )
    return envelope_pb2.Reply(refused=refused).SerializeToString()


def hint_reply(kind: HintKind) -> bytes:
    """Return something the agent may like to know."""
    return envelope_pb2.Reply(hint=envelope_pb2.Hint(kind=_HINTS[kind])).SerializeToString()


def parse_begin(data: bytes) -> bytes:
    """Return the tenant that a host asks for.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    return parse_message(service_pb2.BeginRequest, data, _REQUEST_BYTES_MAX).tenant


def parse_enroll(data: bytes) -> Statement:
    """Decode a request for a first certificate.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    message = parse_message(service_pb2.EnrollRequest, data, _REQUEST_BYTES_MAX)
    said = message.statement
    return Statement(message.csr, said.payload, said.signature, message.token_secret)


def parse_reattest(data: bytes) -> Statement:
    """Decode a request for a certificate by the signing key alone.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    message = parse_message(service_pb2.ReattestRequest, data, _REQUEST_BYTES_MAX)
    return Statement(message.csr, message.statement.payload, message.statement.signature)


def parse_renew(data: bytes) -> Statement:
    """Decode a request for the certificate that follows.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    message = parse_message(service_pb2.RenewRequest, data, _REQUEST_BYTES_MAX)
    return Statement(message.csr, message.statement.payload, message.statement.signature)


def begin_response(nonce: bytes, trust: bytes) -> bytes:
    """Return a nonce and what the tenant's hosts trust."""
    return service_pb2.BeginResponse(nonce=nonce, trust=trust).SerializeToString()


def challenge_response(nonce: bytes) -> bytes:
    """Return a nonce."""
    return service_pb2.ChallengeResponse(nonce=nonce).SerializeToString()


def certificate_response(chain: bytes, agent: bytes, not_after: int, generation: int) -> bytes:
    """Return a certificate."""
    return service_pb2.Certificate(
        chain=chain, agent=agent, not_after=not_after, generation=generation
    ).SerializeToString()


def parse_get(data: bytes) -> tuple[str, int]:
    """Return name and offset of the content file that is asked for.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    message = parse_message(service_pb2.GetRequest, data, _REQUEST_BYTES_MAX)
    return message.name, message.offset


def chunk_response(data: bytes, total: int) -> bytes:
    """Return a piece of a content file, and the size of the whole."""
    return service_pb2.Chunk(data=data, total=total).SerializeToString()


def checkpoint_response(checkpoint: bytes) -> bytes:
    """Return a log's newest checkpoint; empty where there is none yet."""
    return service_pb2.CheckpointResponse(checkpoint=checkpoint).SerializeToString()


def parse_proof(data: bytes) -> tuple[bytes, int]:
    """Return the header hash, and the size of the tree, that a proof is asked for.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    message = parse_message(service_pb2.ProofRequest, data, _REQUEST_BYTES_MAX)
    return message.header_hash, message.size


def proof_response(index: int, hashes: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Return where an entry stands under a checkpoint."""
    return service_pb2.ProofResponse(
        index=index, hashes=hashes, checkpoint=checkpoint
    ).SerializeToString()


def parse_consistency(data: bytes) -> tuple[int, int]:
    """Return the two sizes between which a proof is asked for.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    message = parse_message(service_pb2.ConsistencyRequest, data, _REQUEST_BYTES_MAX)
    return message.first, message.second


def consistency_response(hashes: Sequence[bytes]) -> bytes:
    """Return the proof that one tree continues another."""
    return service_pb2.ConsistencyResponse(hashes=hashes).SerializeToString()


def parse_health(data: bytes) -> str:
    """Return the service whose health is asked for; empty for the whole process.

    Raises:
        TooLarge: over the limit.
        Malformed: not such a request.
    """
    return str(parse_message(health_pb2.HealthCheckRequest, data, _REQUEST_BYTES_MAX).service)


def health_response(*, serving: bool) -> bytes:
    """Return whether a service can do its work now."""
    status = health_pb2.HealthCheckResponse.ServingStatus.Value(
        "SERVING" if serving else "NOT_SERVING"
    )
    return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())
