"""Sealing: records become a signed batch that names the one before it.

The chain state moves forward when a batch is signed, not when it is stored: a batch that could not
be made durable is stored later as the same bytes, and no sequence number is ever signed twice.
"""

import hashlib
import zlib
from collections.abc import Callable

from msgspec import Struct, structs

from agent.sense.batch import OpenBatch
from proto import codec, envelope, merkle, model
from proto.envelope import PayloadType
from runtime.clock import Clock

ZLIB_LEVEL = 1


class HostFacts(Struct, frozen=True):
    """What does not change while the daemon runs."""

    tenant: bytes
    agent: bytes
    key_id: bytes
    boot_id: bytes
    host_name: str
    agent_version: str
    split: model.Split


class Surroundings(Struct, frozen=True):
    """What the daemon knew when it sealed."""

    content: tuple[model.ContentStamp, ...] = ()
    sensors: tuple[model.SensorStatus, ...] = ()
    dropped: tuple[model.DroppedRange, ...] = ()
    last_receipt: model.ReceiptRef | None = None
    checkpoint: model.CheckpointRef | None = None


class SealedBatch(Struct, frozen=True):
    """A batch as it is stored and sent: exact bytes, never serialised again."""

    epoch: bytes
    seq: int
    hash: bytes
    priority: model.Priority
    records: int
    header: bytes
    signature: bytes
    body: bytes


class Sealer:
    """One epoch's chain.

    Args:
        key: signs; it never leaves the process.
        facts: of this host and run.
        opens: stands in the first header: why the epoch begins and what it follows.
        clock: for the header's three times.
        random: returns n unpredictable bytes, for the epoch and the salt seeds.
    """

    def __init__(
        self,
        key: envelope.Signer,
        facts: HostFacts,
        opens: model.EpochStart,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._key = key
        self._facts = facts
        self._opens: model.EpochStart | None = opens
        self._clock = clock
        self._random = random
        self.epoch = random(16)
        self.seq = 0
        self._previous = opens.parent_hash or b""

    def seal(self, batch: OpenBatch, around: Surroundings) -> SealedBatch:
        """Sign the batch as the next of the chain.

        Raises:
            TooLarge: the records do not fit a body, or the surroundings a header.
        """
        seed = self._random(32)
        raw = codec.encode_body(model.Body(seed=seed, records=tuple(batch.records)))
        body = zlib.compress(raw, ZLIB_LEVEL)
        leaves = merkle.batch_leaves(seed, batch.records)
        header = model.Header(
            version=model.HEADER_VERSION,
            tenant=self._facts.tenant,
            agent=self._facts.agent,
            key_id=self._facts.key_id,
            epoch=self.epoch,
            opens=self._opens,
            seq=self.seq + 1,
            previous=self._previous,
            body_sha256=hashlib.sha256(body).digest(),
            compression=model.Compression.ZLIB,
            body_bytes=len(body),
            raw_bytes=len(raw),
            records=len(batch.records),
            root=merkle.root_of(leaves),
            priority=batch.priority,
            first_time=batch.first_time,
            last_time=batch.last_time,
            wall=self._clock.wall_ns(),
            boot_clock=self._clock.boot_ns(),
            boot_id=self._facts.boot_id,
            split=self._facts.split,
            agent_version=self._facts.agent_version,
            host_name=self._facts.host_name,
            **{name: getattr(around, name) for name in around.__struct_fields__},
        )
        return self._sign(header, body)

    def _sign(self, header: model.Header, body: bytes) -> SealedBatch:
        payload = codec.encode_header(header)
        signature = envelope.sign(PayloadType.BATCH, payload, self._key)
        self.seq = header.seq
        self._previous = envelope.header_hash(PayloadType.BATCH, payload)
        self._opens = None
        return SealedBatch(
            epoch=self.epoch,
            seq=self.seq,
            hash=self._previous,
            priority=header.priority,
            records=header.records,
            header=payload,
            signature=signature,
            body=body,
        )


def without_surroundings(around: Surroundings) -> Surroundings:
    """Return what a second batch of the same commit states: the first has said the rest."""
    return structs.replace(around, dropped=())
