"""Moves the verified mark: each batch behind it is opened, judged and logged, in order.

Nothing stops it. A batch whose body is not what its header says stays in the ledger as evidence; a
signed refusal takes its place in the log, its agent goes into quarantine, and the next one follows.
"""

from typing import Annotated, Protocol

from msgspec import Meta, Struct

from certs.identity import TenantId
from certs.signatures import SigningKey
from collector.errors import AdmitRefused
from collector.ledger.admit import admitted, open_batch
from collector.ledger.admitted import AdmittedCache
from collector.ledger.flags import Flag, FlagKind
from collector.ledger.log import ADMITTED, NEWER, TRUSTED, Entry, TenantLog
from collector.ledger.ports import Stored
from collector.ledger.reader import LedgerReader
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.errors import RejectReason, WireError
from proto.model import Argument, Audit
from proto.tlog import log_leaf
from runtime.clock import NS_PER_S, Clock
from runtime.logs import logger


class AdmitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much is opened before the mark is moved."""

    chunk_batches_max: Annotated[int, Meta(ge=1, le=4096)] = 64
    chunk_bytes_max: Annotated[int, Meta(ge=1)] = 8 * 1024 * 1024
    # A checkpoint is two syncs and a signature; agents and SIEMs look once a second at most.
    checkpoint_wait_ms_min: Annotated[int, Meta(ge=0)] = 1_000


class FlagKeeper(Protocol):
    """Who notes breaks in agents' histories (`collector.ledger.sqlite.SqliteLedger`)."""

    def flag(self, tenant: TenantId, flag: Flag) -> None:
        """Note a break.

        Raises:
            LedgerUnavailable: nothing was noted.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...


class Rooms(Struct, frozen=True):
    """What the admitter of one tenant works on.

    Args:
        ledger: reads the sealed batches.
        flags: notes breaks in agents' histories.
        log: takes what admit says.
        cache: keeps what was opened for those who follow closely.
    """

    ledger: LedgerReader
    flags: FlagKeeper
    log: TenantLog
    cache: AdmittedCache


class Admitter:
    """Admits one tenant's batches; one thread at a time.

    Args:
        tenant: whose.
        rooms: what it works on.
        key: signs refusals.
        clock: stamps refusals and checkpoints.
        settings: how much at once.
    """

    def __init__(
        self,
        tenant: TenantId,
        rooms: Rooms,
        key: SigningKey,
        clock: Clock,
        settings: AdmitSettings,
    ) -> None:
        self._tenant = tenant
        self._ledger = rooms.ledger
        self._flags = rooms.flags
        self._log = rooms.log
        self._cache = rooms.cache
        self._key = key
        self._clock = clock
        self._settings = settings
        self._signed_ns: int | None = None
        self.mark = rooms.log.reader.mark()
        self._lines = logger(__name__).bind(tenant=str(tenant))

    def step(self) -> int:
        """Admit one chunk; return how many batches it had, 0 when all are admitted.

        Raises:
            LedgerUnavailable: the mark has not moved.
            LedgerCorrupt: a file is damaged.
        """
        chunk = self._ledger.read(
            self.mark, self._settings.chunk_batches_max, self._settings.chunk_bytes_max
        )
        if chunk:
            self._log.record([self._judge(stored) for stored in chunk])
            self.mark = chunk[-1].position
        return len(chunk)

    def sign(self) -> bytes | None:
        """Sign a checkpoint where one is due; return it.

        Raises:
            LedgerUnavailable: nothing was signed for.
            LedgerCorrupt: the file is damaged.
        """
        now_ns = self._clock.monotonic_ns()
        wait_ns = self._settings.checkpoint_wait_ms_min * NS_PER_S // 1000
        if self._signed_ns is not None and now_ns - self._signed_ns < wait_ns:
            return None
        note = self._log.checkpoint(self._clock.wall_ns())
        if note is not None:
            self._signed_ns = now_ns
        return note

    def _judge(self, stored: Stored) -> Entry:
        try:
            opened = open_batch(stored)
        except AdmitRefused as refusal:
            return self._refuse(stored, refusal)
        agent = opened.header.agent
        trusted = not self._ledger.is_quarantined(agent, stored.position)
        derived = self._ledger.is_own(agent)
        self._cache.put(admitted(self._tenant, stored, opened, trusted=trusted, derived=derived))
        return Entry(
            position=stored.position,
            header_hash=stored.header_hash,
            leaf=log_leaf(PayloadType.BATCH, stored.header, stored.signature),
            outcome=ADMITTED | (TRUSTED if trusted else 0) | (NEWER if opened.is_newer else 0),
        )

    def _refuse(self, stored: Stored, refusal: AdmitRefused) -> Entry:
        """Say, signed, that a batch is not what its header says."""
        is_newer = refusal.reason is RejectReason.VERSION
        if not is_newer:
            self._quarantine(stored)
        now = self._clock.wall_ns()
        payload = codec.encode_record(refusal_record(stored, refusal, now))
        signature = envelope.sign(PayloadType.REFUSAL, payload, self._key)
        return Entry(
            position=stored.position,
            header_hash=stored.header_hash,
            leaf=log_leaf(PayloadType.REFUSAL, payload, signature),
            outcome=NEWER if is_newer else 0,
            refusal=payload,
            signature=signature,
        )

    def _quarantine(self, stored: Stored) -> None:
        try:
            header = codec.decode_header(stored.header)
        except WireError:
            # The gateway decoded it before it was kept: the file was changed since.
            self._lines.error("ledger holds a header that cannot be read", at=stored.position)
            return
        flag = Flag(
            position=stored.position,
            at=self._clock.wall_ns(),
            agent=header.agent,
            epoch=header.epoch,
            seq=header.seq,
            kind=FlagKind.BODY,
            quarantines=True,
        )
        self._flags.flag(self._tenant, flag)


def refusal_record(stored: Stored, refusal: AdmitRefused, now: int) -> Audit:
    """Return what is signed in place of a batch that was not admitted.

    Args:
        stored: the batch.
        refusal: what is wrong with it.
        now: nanoseconds UTC.
    """
    return Audit(
        actor="collector",
        action="admit",
        subject=stored.header_hash.hex(),
        outcome="refused",
        at=now,
        detail=(
            Argument("reason", refusal.reason.value),
            Argument("message", refusal.message),
            Argument("position", str(stored.position)),
        ),
    )
