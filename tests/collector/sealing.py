"""An agent that seals, right or wrong, for tests of what the collector makes of it."""

import hashlib
import zlib
from collections.abc import Sequence
from random import Random

from certs.identity import TenantId, agent_id_of
from certs.signatures import SigningKey
from collector.ledger.ports import SealedBatch
from proto import codec, envelope, merkle, model
from proto.envelope import PayloadType

TENANT = TenantId(b"\x01" * 16)
OTHER_TENANT = TenantId(b"\x02" * 16)
NOW = 1_790_000_000_000_000_000


def a_header(**changes: object) -> model.Header:
    values: dict[str, object] = {
        "version": 1,
        "tenant": TENANT.bytes,
        "agent": b"a" * 16,
        "key_id": b"k" * 32,
        "epoch": b"e" * 16,
        "seq": 1,
        "previous": b"",
        "body_sha256": b"b" * 32,
        "compression": model.Compression.ZLIB,
        "body_bytes": 10,
        "raw_bytes": 20,
        "records": 1,
        "root": b"r" * 32,
        "priority": model.Priority.LOW,
        "first_time": 1,
        "last_time": 2,
        "wall": 3,
        "boot_clock": 4,
        "boot_id": b"o" * 16,
        "split": model.Split.NONE,
        "agent_version": "0.1.0",
        "host_name": "host",
    }
    return model.Header(**(values | changes))  # type: ignore[arg-type]


def a_key(seed: object) -> SigningKey:
    return SigningKey.from_private_bytes(hashlib.sha256(repr(seed).encode()).digest())


class AnAgent:
    """Seals batches as an agent does, and can be told to do it wrong.

    Args:
        seed: makes key, epochs and salts; the same seed is the same agent.
        tenant: whose agent.
    """

    def __init__(self, seed: object = 0, tenant: TenantId = TENANT) -> None:
        self.key = a_key(seed)
        self.tenant = tenant
        self.id = agent_id_of(self.key.public.raw)
        self._random = Random(repr(seed))
        self.epoch = b""
        self.seq = 0
        self.previous = b""
        self._opens: model.EpochStart | None = None
        self.start(model.EpochStart(reason=model.EpochReason.FIRST))

    def start(self, opens: model.EpochStart | None = None) -> None:
        """Begin an epoch; by default one that follows the last batch sealed."""
        if opens is None:
            opens = model.EpochStart(
                reason=model.EpochReason.CLEAN_START,
                parent_epoch=self.epoch,
                parent_seq=self.seq,
                parent_hash=self.previous,
            )
        self.epoch = self._random.randbytes(16)
        self.seq = 0
        self.previous = opens.parent_hash or b""
        self._opens = opens

    def twin(self) -> "AnAgent":
        """Return a copy that goes its own way from here: a stolen key, a restored machine."""
        twin = AnAgent.__new__(AnAgent)
        twin.__dict__.update(self.__dict__)
        twin._random = Random(self._random.random())  # noqa: SLF001  (of its own kind)
        return twin

    def seal(self, records: Sequence[bytes] = (), /, **changes: object) -> SealedBatch:
        """Seal the next batch.

        Args:
            records: their exact bytes.
            changes: of header fields, made before it is signed.
        """
        seed = self._random.randbytes(32)
        raw = codec.encode_body(model.Body(seed=seed, records=tuple(records)))
        body = zlib.compress(raw, 1)
        self.seq += 1
        values: dict[str, object] = {
            "tenant": self.tenant.bytes,
            "agent": self.id.bytes,
            "key_id": self.key.public.key_id,
            "epoch": self.epoch,
            "opens": self._opens,
            "seq": self.seq,
            "previous": self.previous,
            "body_sha256": hashlib.sha256(body).digest(),
            "body_bytes": len(body),
            "raw_bytes": len(raw),
            "records": len(records),
            "root": merkle.root_of(merkle.batch_leaves(seed, records)),
        }
        batch = signed(a_header(**(values | changes)), body, self.key)
        self.previous = batch.header_hash
        self._opens = None
        return batch


def signed(header: model.Header, body: bytes, key: SigningKey) -> SealedBatch:
    payload = codec.encode_header(header)
    return SealedBatch(
        header=header,
        header_bytes=payload,
        header_hash=envelope.header_hash(PayloadType.BATCH, payload),
        signature=envelope.sign(PayloadType.BATCH, payload, key),
        body=body,
        public_key=key.public.raw,
        received=NOW,
    )
