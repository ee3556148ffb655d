"""One record, proven from a file and public keys: every layer, in order, and which one failed.

1. file: a well-formed proof file that carries a record proof;
2. signature: the batch header is signed by the key that the file shows;
3. header: what was signed is a batch header of a version this program can judge;
4. agent: the id in the header is made from that key; the tenant is the one the trust file names;
5. record: with its salt, the record leads to the Merkle root in that header;
6. checkpoint: the log's tree head is signed by a log that the trust file names;
7. log: header and signature are the entry at that place of that log.

So the record is what the holder of the agent's key sealed, unchanged, and the log has owned up to
it. Whether the host told the truth when it was sealed, no proof can say.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from certs.identity import AgentId, TenantId, agent_id_of
from certs.signatures import VerifyKey
from certs.trust import Trust
from proto import codec, envelope, model, tlog
from proto.envelope import PayloadType
from proto.errors import ProofRejected, WireError
from proto.merkle import TreeHead
from proto.note import NoteKey, parse_note
from proto.record_proof import RecordProof, parse_record_proof, verify_record
from runtime.errors import Fault, VedetteError


class Layer(enum.StrEnum):
    """What is checked, in order; the values stand in ``--json``."""

    FILE = "file"
    SIGNATURE = "signature"
    HEADER = "header"
    AGENT = "agent"
    RECORD = "record"
    CHECKPOINT = "checkpoint"
    LOG = "log"


_FAILURES = {
    Layer.FILE: "this is not a whole proof file",
    Layer.SIGNATURE: "the batch header is not what the key in the file signed",
    Layer.HEADER: "what was signed is not a batch header that this program can judge",
    Layer.AGENT: "the key in the file is not that of the agent it is shown for",
    Layer.RECORD: "the record is not the one that the signed batch holds",
    Layer.CHECKPOINT: "the checkpoint is not signed by a log that the trust file names",
    Layer.LOG: "the signed batch is not in the log at that place",
}


class NotProven(VedetteError):
    """One layer of a proof does not hold.

    Args:
        layer: the first that failed.
        detail: what was found, in one lower-case clause.
        hint: what the reader should do next; empty when nothing can be done.
    """

    fault: ClassVar[Fault] = Fault.PEER

    def __init__(self, layer: Layer, detail: str, *, hint: str = "") -> None:
        super().__init__(f"{_FAILURES[layer]}: {detail}", hint=hint)
        self.layer = layer


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """A record and what holds it.

    Args:
        record: decoded; None where this program cannot read what was sealed.
        proof: its place in the batch, and the batch's signature.
        header: the signed batch header.
        agent_key: who sealed it.
        checkpoint: the log's signed tree head.
        log_index: the batch's place in that log.
        log_key_ids: the trusted keys that signed the checkpoint.
    """

    record: model.Record | None
    proof: RecordProof
    header: model.Header
    agent_key: VerifyKey
    checkpoint: tlog.Checkpoint
    log_index: int
    log_key_ids: tuple[bytes, ...]


def prove(data: bytes, trust: Trust) -> Proven:
    """Check every layer of a proof file.

    Args:
        data: untrusted bytes.
        trust: whose log counts.

    Raises:
        NotProven: a layer does not hold; it says which.
    """
    with _layer(Layer.FILE):
        log_proof = tlog.parse_proof(data)
        proof = parse_record_proof(log_proof.extra)
    with _layer(Layer.SIGNATURE):
        key = VerifyKey(proof.public_key)
        envelope.verify(PayloadType.BATCH, proof.header, proof.signature, key)
    with _layer(Layer.HEADER):
        header = _open_header(proof.header)
    _check_agent(header, key, trust)
    with _layer(Layer.RECORD):
        verify_record(proof, TreeHead(header.records, header.root))
    log_keys = [NoteKey(trusted.name, trusted.verify_key) for trusted in trust.log_keys]
    checkpoint = _check_log(log_proof, proof, log_keys)
    signed = {(line.name, line.key_id) for line in parse_note(log_proof.checkpoint).signatures}
    return Proven(
        record=_open_record(proof.record),
        proof=proof,
        header=header,
        agent_key=key,
        checkpoint=checkpoint,
        log_index=log_proof.index,
        log_key_ids=tuple(k.id for k in log_keys if (k.name, k.id) in signed),
    )


@contextmanager
def _layer(layer: Layer) -> Iterator[None]:
    try:
        yield
    except VedetteError as error:
        raise NotProven(layer, error.message, hint=error.hint) from error


def _open_header(payload: bytes) -> model.Header:
    header = codec.decode_header(payload)
    if not 0 < header.version <= model.HEADER_VERSION:
        raise NotProven(
            Layer.HEADER, f"it is of version {header.version}", hint="use a newer release"
        )
    return header


def _check_agent(header: model.Header, key: VerifyKey, trust: Trust) -> None:
    agent, tenant = AgentId(header.agent), TenantId(header.tenant)
    made = agent_id_of(key.raw)
    if agent != made or header.key_id != key.key_id:
        raise NotProven(Layer.AGENT, f"the key makes agent {made}, the header says {agent}")
    if tenant != trust.tenant_id:
        raise NotProven(
            Layer.AGENT,
            f"the batch belongs to tenant {tenant}, the trust file to {trust.tenant}",
            hint="use the trust file of that tenant",
        )


def _check_log(
    log_proof: tlog.LogProof, proof: RecordProof, keys: list[NoteKey]
) -> tlog.Checkpoint:
    leaf = tlog.log_leaf(PayloadType.BATCH, proof.header, proof.signature)
    try:
        return tlog.verify_logged(log_proof, leaf, keys)
    except ProofRejected as error:
        raise NotProven(Layer.LOG, error.message) from error
    except WireError as error:
        raise NotProven(Layer.CHECKPOINT, error.message, hint=error.hint) from error


def _open_record(data: bytes) -> model.Record | None:
    # An agent may have sealed what we cannot read; that it did is proven all the same.
    try:
        record, _ = codec.decode_record(data)
    except WireError:
        return None
    return record
