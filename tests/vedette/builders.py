"""A small world in which one finding was sealed and logged."""

import base64

import msgspec

from certs.identity import TenantId, agent_id_of
from certs.signatures import SigningKey
from certs.trust import Trust, TrustedKey
from proto import codec, envelope, merkle, model, tlog
from proto.envelope import PayloadType
from proto.merkle import CompactTree, TreeHead
from proto.record_proof import RecordProof, encode_record_proof
from proto.tlog import Checkpoint, LogProof
from tests.proto.builders import a_finding

AGENT_KEY = SigningKey.from_private_bytes(bytes(range(32)))
LOG_KEY = SigningKey.from_private_bytes(bytes(range(1, 33)))
TENANT = TenantId.parse("11111111-1111-4111-8111-111111111111")
ORIGIN = tlog.log_origin("vedette.example", TENANT, bytes(16))
SEED = bytes(range(32))


def a_trust(
    log_key: SigningKey = LOG_KEY, tenant: TenantId = TENANT, origin: str = ORIGIN
) -> Trust:
    pem = base64.b64encode(bytes(48)).decode()
    return Trust(
        domain="vedette.example",
        tenant=str(tenant),
        x509_root=f"-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n",
        tuf_root=b"{}",
        receipt_keys=(TrustedKey("receipts", LOG_KEY.public.raw),),
        log_keys=(TrustedKey(origin, log_key.public.raw),),
    )


def records_around(record: bytes) -> list[bytes]:
    return [b"before", b"and before", record, b"after"]


def a_header(records: list[bytes], **changes: object) -> model.Header:
    header = model.Header(
        version=1,
        tenant=TENANT.bytes,
        agent=agent_id_of(AGENT_KEY.public.raw).bytes,
        key_id=AGENT_KEY.public.key_id,
        epoch=bytes(range(16)),
        seq=7,
        previous=bytes(32),
        body_sha256=bytes(32),
        compression=model.Compression.ZLIB,
        body_bytes=100,
        raw_bytes=200,
        records=len(records),
        root=merkle.root_of(merkle.batch_leaves(SEED, records)),
        priority=model.Priority.HIGH,
        first_time=1_790_000_000_000_000_000,
        last_time=1_790_000_000_000_000_000,
        wall=1_790_000_001_000_000_000,
        boot_clock=1,
        boot_id=bytes(16),
        split=model.Split.USERS,
        agent_version="0.1.0",
        host_name="web-1",
    )
    return msgspec.structs.replace(header, **changes)


def a_record_proof(
    record: bytes, header: bytes, signer: SigningKey = AGENT_KEY, index: int = 2
) -> RecordProof:
    leaves = merkle.batch_leaves(SEED, records_around(record))
    return RecordProof(
        record=record,
        salt=merkle.salt_of(SEED, index),
        index=index,
        path=merkle.inclusion_proof(index, len(leaves), merkle.nodes_of(leaves)),
        header=header,
        signature=envelope.sign(PayloadType.BATCH, header, signer),
        public_key=signer.public.raw,
    )


def sealed(record: bytes | None = None, **changes: object) -> RecordProof:
    """A record proven up to its batch's signature; ``changes`` are of the header."""
    record = codec.encode_record(a_finding()) if record is None else record
    header = a_header(records_around(record), **changes)
    return a_record_proof(record, codec.encode_header(header))


def logged(proof: RecordProof, index: int = 3, log_key: SigningKey = LOG_KEY) -> LogProof:
    """The proof of a log of nine entries that has the batch at ``index``."""
    leaves = [merkle.leaf_hash(bytes([entry])) for entry in range(9)]
    leaves[index] = tlog.log_leaf(PayloadType.BATCH, proof.header, proof.signature)
    tree = CompactTree()
    for leaf in leaves:
        tree.append(leaf)
    return LogProof(
        index=index,
        path=merkle.inclusion_proof(index, len(leaves), merkle.nodes_of(leaves)),
        checkpoint=a_checkpoint(tree.head, log_key),
        extra=encode_record_proof(proof),
    )


def a_checkpoint(head: TreeHead, log_key: SigningKey = LOG_KEY, origin: str = ORIGIN) -> bytes:
    return tlog.sign_checkpoint(Checkpoint(origin, head), log_key)


def a_proof_file() -> bytes:
    return tlog.encode_proof(logged(sealed()))
