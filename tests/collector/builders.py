"""Admitted batches, for tests of whatever reads below the verified mark."""

from certs.identity import AgentId, TenantId
from collector.ports import Admitted, AdmittedBatch
from proto.model import (
    Compression,
    ContentStamp,
    Freshness,
    Header,
    Priority,
    Record,
    RecordRef,
    Split,
)

TENANT = TenantId(bytes(range(16)))
AGENT = AgentId(b"\x01" * 16)
EPOCH = b"e" * 16
NOW = 1_790_000_000_000_000_000


def a_header(**changes: object) -> Header:
    values: dict[str, object] = {
        "version": 1,
        "tenant": TENANT.bytes,
        "agent": AGENT.bytes,
        "key_id": bytes(32),
        "epoch": EPOCH,
        "seq": 1,
        "previous": b"",
        "body_sha256": bytes(32),
        "compression": Compression.ZLIB,
        "body_bytes": 1,
        "raw_bytes": 1,
        "records": 1,
        "root": bytes(32),
        "priority": Priority.LOW,
        "first_time": NOW,
        "last_time": NOW,
        "wall": NOW,
        "boot_clock": 1,
        "boot_id": bytes(16),
        "split": Split.USERS,
        "agent_version": "0.1.0",
        "host_name": "host-1",
        "content": (ContentStamp("indicators", "7", 5, Freshness.FRESH),),
    }
    return Header(**(values | changes))  # type: ignore[arg-type]


def an_admitted_batch(
    *records: Record,
    position: int = 1,
    agent: AgentId = AGENT,
    trusted: bool = True,
    derived: bool = False,
    **header: object,
) -> AdmittedBatch:
    return AdmittedBatch(
        tenant=TENANT,
        position=position,
        agent=agent,
        received=NOW + position,
        header=a_header(seq=position, agent=agent.bytes, records=len(records), **header),
        records=tuple(
            Admitted(RecordRef(agent.bytes, EPOCH, position, index), record)
            for index, record in enumerate(records)
        ),
        trusted=trusted,
        derived=derived,
    )
