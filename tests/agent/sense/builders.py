"""Sealed batches and the keys behind them, for tests of the outbox and what reads it."""

import itertools
import os
from pathlib import Path

from agent.sense.batch import OpenBatch
from agent.sense.outbox import Outbox, OutboxSettings
from agent.sense.seal import HostFacts, SealedBatch, Sealer, Surroundings
from certs.identity import agent_id_of
from certs.signatures import SigningKey
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.model import (
    Argument,
    Durability,
    EpochReason,
    EpochStart,
    Priority,
    Receipt,
    SeqHash,
    Split,
)
from tests.fakes.clock import FakeClock
from tests.proto.builders import a_finding

TENANT = bytes(range(16))
SMALL = OutboxSettings(size_bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024)


class Host:
    """One agent's key and chain, without any disk."""

    def __init__(self, key: SigningKey | None = None) -> None:
        self.key = key or SigningKey.generate()
        self.clock = FakeClock()
        self.agent = agent_id_of(self.key.public.raw).bytes
        self.facts = HostFacts(
            tenant=TENANT,
            agent=self.agent,
            key_id=self.key.public.key_id,
            boot_id=bytes(16),
            host_name="host",
            agent_version="0",
            split=Split.NONE,
        )
        self.counter = itertools.count()

    def sealer(self, opens: EpochStart | None = None) -> Sealer:
        start = opens or EpochStart(reason=EpochReason.FIRST)
        return Sealer(self.key, self.facts, start, self.clock, os.urandom)


def a_batch(
    sealer: Sealer,
    records: int = 1,
    priority: Priority = Priority.LOW,
    padding: int = 0,
) -> SealedBatch:
    batch = OpenBatch(priority)
    for _ in range(records):
        # Random text does not compress, so the padding is what the disk sees.
        noise = os.urandom(padding // 2).hex()
        record = codec.encode_record(a_finding(arguments=(_argument(noise),)))
        batch.add(record, 1, 1)
    return sealer.seal(batch, Surroundings())


def _argument(text: str) -> Argument:
    return Argument(name="noise", value=text)


def an_outbox(path: Path, settings: OutboxSettings = SMALL) -> Outbox:
    segments = path / "segments"
    segments.mkdir(exist_ok=True)
    return Outbox(path / "headers.log", segments, settings)


def a_receipt(
    host: Host, batch: SealedBatch, ahead: tuple[SealedBatch, ...] = (), **changes: object
) -> Receipt:
    values: dict[str, object] = {
        "version": 1,
        "tenant": TENANT,
        "agent": host.agent,
        "epoch": batch.epoch,
        "seq": batch.seq,
        "header_hash": batch.hash,
        "ledger_generation": bytes(16),
        "log_size": 0,
        "durability": Durability.DURABLE,
        "at": 1,
        "ahead": tuple(SeqHash(seq=b.seq, header_hash=b.hash) for b in ahead),
    }
    return Receipt(**(values | changes))  # type: ignore[arg-type]


def give(outbox: Outbox, receipt: Receipt, collector: SigningKey) -> int:
    payload = codec.encode_receipt(receipt)
    signature = envelope.sign(PayloadType.RECEIPT, payload, collector)
    return outbox.receipt(receipt, payload, signature)
