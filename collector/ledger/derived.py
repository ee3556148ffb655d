"""Sealing what the collector itself has to say, as batches of its own.

Incidents, scores and notices are records like any other: in batches signed by the collector's own
key, on a chain of their own in each tenant's ledger. Sealing is exactly once: how far a source has
been sealed is written in the transaction that keeps the batch, so a crash can neither lose a record
nor seal one twice, whatever happened to the source's own file.
"""

import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from certs.identity import TenantId, agent_id_of
from certs.signatures import SigningKey
from collector.ledger.pending import Pending, PendingSource
from collector.ledger.ports import Mark, Outcome, OwnLedger, OwnPlace, SealedBatch
from proto import codec, envelope, merkle
from proto.envelope import PayloadType
from proto.model import (
    HEADER_VERSION,
    RAW_BYTES_MAX,
    RECORDS_MAX,
    Body,
    Compression,
    EpochReason,
    EpochStart,
    Header,
    Priority,
    Record,
    Split,
)
from runtime.clock import Clock

ZLIB_LEVEL = 1
_FRAME_BYTES = 8


class OwnFacts(Struct, frozen=True):
    """What the collector's own headers say of the process that seals."""

    host_name: str
    version: str
    boot_id: bytes


class Sealer:
    """Seals records into tenants' ledgers as the collector's own.

    Args:
        key: the collector's own signing key.
        ledger: where the batches go.
        facts: of this process.
        clock: for the header's times.
        random: n unpredictable bytes, for epochs and salts.
    """

    def __init__(
        self,
        key: SigningKey,
        ledger: OwnLedger,
        facts: OwnFacts,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._key = key
        self._ledger = ledger
        self._facts = facts
        self._clock = clock
        self._random = random
        self.agent = agent_id_of(key.public.raw)

    def seal_pending(self, tenant: TenantId, source: PendingSource) -> int:
        """Seal what waits at a source, one batch of it; return how many records it had.

        Raises:
            LedgerUnavailable: nothing was sealed; the same records wait.
            LedgerCorrupt: a file is damaged.
            LedgerForeign: a file is not this tenant's, or of a newer version.
        """
        if not source.pending(0, 1):
            return 0
        mark = self._ledger.mark(tenant, source.name)
        waiting = list(_fitting(source.pending(mark.pending, RECORDS_MAX)))
        if waiting:
            newest = waiting[-1]
            moved = Mark(source.name, newest.id, newest.position)
            self._append(tenant, moved, [one.record for one in waiting])
            mark = moved
        source.forget(mark.pending)
        return len(waiting)

    def seal(self, tenant: TenantId, records: Sequence[Record]) -> Outcome:
        """Seal records that no source counts, at once; for audit.

        Args:
            tenant: in whose ledger.
            records: at least one, and no more than fit one batch.

        Raises:
            TooLarge: a record, or all of them together, are over a limit.
            Malformed: a record holds a value the wire cannot carry.
            LedgerUnavailable: nothing was sealed.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        encoded = [codec.encode_record(record) for record in records]
        outcome = self._append(tenant, None, encoded)
        assert outcome is not None  # noqa: S101  (only a mark can say that it was sealed before)
        return outcome

    def _append(
        self, tenant: TenantId, mark: Mark | None, records: Sequence[bytes]
    ) -> Outcome | None:
        seed = self._random(32)
        raw = codec.encode_body(Body(seed=seed, records=tuple(records)))
        body = zlib.compress(raw, ZLIB_LEVEL)
        root = merkle.root_of(merkle.batch_leaves(seed, records))

        def seal(place: OwnPlace) -> SealedBatch:
            now = self._clock.wall_ns()
            header = Header(
                version=HEADER_VERSION,
                tenant=tenant.bytes,
                agent=self.agent.bytes,
                key_id=self._key.public.key_id,
                epoch=place.epoch or self._random(16),
                opens=None if place.epoch else EpochStart(reason=EpochReason.FIRST),
                seq=place.seq,
                previous=place.previous,
                body_sha256=hashlib.sha256(body).digest(),
                compression=Compression.ZLIB,
                body_bytes=len(body),
                raw_bytes=len(raw),
                records=len(records),
                root=root,
                priority=Priority.MEDIUM,
                first_time=now,
                last_time=now,
                wall=now,
                boot_clock=self._clock.boot_ns(),
                boot_id=self._facts.boot_id,
                split=Split.NONE,
                agent_version=self._facts.version,
                host_name=self._facts.host_name,
            )
            payload = codec.encode_header(header)
            return SealedBatch(
                header=header,
                header_bytes=payload,
                header_hash=envelope.header_hash(PayloadType.BATCH, payload),
                signature=envelope.sign(PayloadType.BATCH, payload, self._key),
                body=body,
                public_key=self._key.public.raw,
                received=now,
            )

        return self._ledger.append_own(tenant, self.agent, mark, seal)


def _fitting(waiting: Sequence[Pending]) -> Iterator[Pending]:
    """Yield as many as fit one body; always the first."""
    room = RAW_BYTES_MAX - 64
    sizes = itertools.accumulate(len(one.record) + _FRAME_BYTES for one in waiting)
    for one, size in zip(waiting, sizes, strict=True):
        if size > room:
            return
        yield one
