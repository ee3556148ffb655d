"""The outbox: sealed batches on disk until the collector has vouched for them.

Segments hold envelopes, the header log says which of them count. A commit writes the envelopes,
syncs them, then appends one note to the header log and syncs that: the note is the moment at which
batches and cursors become durable together. Only then may `ship` be told of them.

Space is freed a segment at a time, by truncation and unlinking, so a full disk never needs a write
to become less full. What is removed unreceipted is named in the header of a later batch.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from agent.errors import OutboxError, OutboxFailed, OutboxFull
from agent.segments import FRAME_BYTES, SEGMENT_BYTES, SegmentId
from agent.sense import recovery
from agent.sense.chains import Chains, Drops, Link
from agent.sense.headers import (
    NO_SEGMENT,
    Committed,
    Declared,
    Freed,
    HeaderLog,
    Note,
    Opened,
    Receipted,
    Sealed,
    Stopped,
)
from agent.sense.recovery import Recovered
from agent.sense.seal import SealedBatch
from agent.sense.segstore import Segment, SegmentStore
from proto import codec
from proto.envelope import Verifier
from proto.model import DroppedRange, DropReason, Priority, Receipt

DECLARED_RANGES_MAX = 64
_ENVELOPE_OVERHEAD_BYTES = 64
_EVICTION_ORDER = (Priority.LOW, Priority.MEDIUM, Priority.HIGH)


class OutboxSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much disk the queue may take."""

    # A week of one finding a second, uncompressed.
    size_bytes_max: Annotated[int, Meta(ge=1024 * 1024)] = 512 * 1024 * 1024
    segment_bytes: Annotated[int, Meta(ge=256 * 1024)] = SEGMENT_BYTES
    # Of the whole, kept for high severity: lower priorities are evicted before they take it.
    high_reserve_percent: Annotated[int, Meta(ge=0, le=90)] = 25
    # Receipted bodies stay in at most this much, until a backup of the collector covers them.
    receipted_percent_max: Annotated[int, Meta(ge=0, le=90)] = 25
    # Receipted headers stay in at most this much.
    header_log_bytes_max: Annotated[int, Meta(ge=64 * 1024)] = 16 * 1024 * 1024


class Visible(Struct, frozen=True):
    """What `ship` may read: a segment up to an offset."""

    segment: SegmentId
    epoch: bytes
    durable: int


class Outbox:
    """The queue. One writer, one thread.

    Args:
        headers: path of the header log, closed to `ship`.
        segments: directory of the segments, readable by `ship`.
        settings: how much of the disk it may take.
        group: numeric group that may read segments.
    """

    def __init__(
        self, headers: Path, segments: Path, settings: OutboxSettings, group: int | None = None
    ) -> None:
        self._settings = settings
        self._store = SegmentStore(segments, group, settings.segment_bytes)
        self._log = HeaderLog(headers)
        self._chains = Chains()
        self._segments: dict[int, Segment] = {}
        self._active: dict[Priority, Segment] = {}
        self._next_number = 1
        self._waiting: list[Note] = []
        self._drops = Drops()
        # Stated in headers that are sealed, but not yet durable.
        self._declaring: list[Declared] = []
        self._compact_at = 2 * settings.header_log_bytes_max
        self._archived: dict[bytes, int] = {}

    # -- life ------------------------------------------------------------------------------------

    def open(self, key: Verifier) -> Recovered:
        """Take over what an earlier run left. Always succeeds over any content of the files.

        Args:
            key: the verify key of our own signatures, for salvage.

        Raises:
            OSError: the file system refuses the directory altogether.
        """
        state = recovery.recover(self._log, self._store, key)
        self._chains = state.chains
        self._segments = state.segments
        self._next_number = state.next_number
        self._drops = state.drops
        self._waiting = list(state.unnoted)
        return state.found

    def begin(self, epoch: bytes, boot_id: bytes, boot_clock: int) -> None:
        """Note that a new epoch starts, durably unless the disk is full.

        A log that holds this and no commit is of a daemon that has not stored anything yet. One
        that holds nothing beside segments of ours has been lost, and they are taken back.
        """
        self._waiting.append(Opened(epoch, boot_id, boot_clock))
        with contextlib.suppress(OutboxFailed):
            self._log_waiting()

    def stop(self, cursors: Mapping[str, bytes]) -> None:
        """Note a clean end.

        Raises:
            OutboxFailed: the note is not durable; the next start will be unclean.
        """
        self._log_waiting(Stopped(dict(cursors)))

    def _log_waiting(self, *more: Note) -> None:
        self._log.append([*self._waiting, *more])
        self._waiting = []

    def close(self) -> None:
        """Let go of all files; harmless when repeated."""
        for segment in self._segments.values():
            segment.close()
        self._log.close()

    # -- in --------------------------------------------------------------------------------------

    def commit(
        self, batches: Sequence[SealedBatch], cursors: Mapping[str, bytes], boot_clock: int
    ) -> None:
        """Make batches and cursors durable together.

        Raises:
            OutboxError: one of the two below.
            OutboxFull: no room even after eviction; nothing was kept. With something urgent among
                the batches, only for want of room for that: the others are declared dropped. So
                are those of a commit larger than all there is, which no receipt could make fit.
            OutboxFailed: a write or sync failed; nothing counts as kept. The same batches may be
                committed again and go to new segments.
        """
        try:
            self._commit(batches, cursors, boot_clock)
        except OutboxError:
            self._retire_active()
            raise

    def _commit(
        self, batches: Sequence[SealedBatch], cursors: Mapping[str, bytes], boot_clock: int
    ) -> None:
        placed: list[tuple[Segment, SealedBatch, int, int]] = []
        given_up: list[DroppedRange] = []
        is_urgent = any(batch.priority is Priority.HIGH for batch in batches)
        whole = sum(len(batch.header) + len(batch.body) for batch in batches)
        for batch in batches:
            payload = codec.encode_envelope(batch.header, batch.signature, batch.body)
            try:
                segment = self._segment_for(batch, len(payload))
            except OutboxFull:
                # What is urgent does not wait for room for the rest: the rest is declared dropped.
                may_wait = not is_urgent or batch.priority is Priority.HIGH
                if may_wait and not self._is_all_ours(whole):
                    raise
                given_up.append(_evicted(batch))
                continue
            placed.append(
                (segment, batch, self._store.write(segment, batch.seq, payload), len(payload))
            )
        touched = {id(segment): segment for segment, *_ in placed}.values()
        for segment in touched:
            if segment.is_open:
                self._store.sync(segment)
        sealed = tuple(
            Sealed(
                epoch=batch.epoch,
                seq=batch.seq,
                hash=batch.hash,
                segment=segment.id,
                offset=offset,
                length=length,
                records=batch.records,
                header=batch.header,
                signature=batch.signature,
            )
            for segment, batch, offset, length in placed
        )
        dropped = (Freed(NO_SEGMENT, tuple(given_up)),) if given_up else ()
        committed = Committed(sealed, dict(cursors), boot_clock)
        self._log_waiting(committed, *self._declaring, *dropped)
        for note in self._declaring:
            self._drops.stated(note.epoch, note.seq, note.dropped)
        self._declaring = []
        self._drops.add(given_up)
        for segment, batch, _, _ in placed:
            self._chains.add(Link(batch.epoch, batch.seq, batch.hash), segment.id, batch.records)
        for segment in touched:
            segment.durable = segment.filled
        self._compact_if_large()

    def _is_all_ours(self, commit_bytes: int) -> bool:
        """Whether no receipt can make room: nothing is left but what this commit has written.

        Space that others take on the same disk may come back, so that is waited for, unless the
        commit would not leave them half of the disk.
        """
        segments = self._segments.values()
        if not segments or any(segment.durable for segment in segments):
            return False
        limit = self._settings.size_bytes_max * (100 - self._settings.high_reserve_percent) // 100
        is_at_limit = self.size_bytes + self._settings.segment_bytes > limit
        return is_at_limit or 2 * commit_bytes > self._store.disk_bytes()

    def _segment_for(self, batch: SealedBatch, payload_bytes: int) -> Segment:
        active = self._active.get(batch.priority)
        if active is not None and active.epoch == batch.epoch and active.has_room(payload_bytes):
            return active
        needed = payload_bytes + FRAME_BYTES + _ENVELOPE_OVERHEAD_BYTES
        if active is not None and active.is_open:
            # It may hold batches of this very commit.
            self._store.sync(active)
            active.close()
        self._make_room(max(self._settings.segment_bytes, needed), batch.priority)
        try:
            segment = self._new_segment(batch, needed)
        except OutboxFull:
            if not self._evict_one(batch.priority):
                raise
            segment = self._new_segment(batch, needed)
        self._active[batch.priority] = segment
        self._segments[segment.id.number] = segment
        return segment

    def _new_segment(self, batch: SealedBatch, needed: int) -> Segment:
        number = self._next_number
        self._next_number += 1
        return self._store.create(number, batch.priority, batch.epoch, needed=needed)

    def _retire_active(self) -> None:
        """After a failure nothing more is written to the files in use."""
        for segment in self._active.values():
            segment.close()
        self._active = {}
        for number, segment in list(self._segments.items()):
            segment.filled = segment.durable
            if not segment.durable and not self._chains.owed_in(segment.id):
                self._store.remove(segment)
                del self._segments[number]

    # -- out -------------------------------------------------------------------------------------

    def visible(self) -> list[Visible]:
        """Return what `ship` may read, oldest segment first."""
        return [
            Visible(segment.id, segment.epoch, segment.durable)
            for _, segment in sorted(self._segments.items())
            if segment.durable
        ]

    @property
    def head(self) -> Link | None:
        """The newest durable batch."""
        return self._chains.head

    @property
    def owed(self) -> int:
        """How many batches wait for a receipt."""
        return self._chains.owed

    @property
    def size_bytes(self) -> int:
        """How much disk is in use."""
        return sum(s.size for s in self._segments.values()) + self._log.size_bytes

    def receipt(self, receipt: Receipt, payload: bytes, signature: bytes) -> int:
        """Take in a durable receipt whose signature the caller has verified.

        Returns:
            How many batches it settled.

        Raises:
            DoorError: it names a header that was never sealed here.
            OutboxFailed: a segment could not be removed.
        """
        ahead = {item.seq: item.header_hash for item in receipt.ahead}
        settled = self._chains.settle(receipt.epoch, receipt.seq, receipt.header_hash, ahead)
        self._drops.arrived(receipt.epoch, receipt.seq, ahead)
        self._archived[receipt.epoch] = receipt.archived_seq
        if settled:
            note = Receipted(
                receipt.epoch, receipt.seq, tuple(ahead), receipt.archived_seq, payload, signature
            )
            # The next commit makes it durable: a receipt lost in a crash is simply sent again.
            self._waiting = [n for n in self._waiting if not _same_epoch(n, note)] + [note]
            self._trim()
        return settled

    def examine(self, segment: SegmentId) -> int:
        """Read a segment back that a reader found damaged, and give up what is.

        Returns:
            How many batches were damaged; they are declared in the next header.

        Raises:
            OutboxFailed: the header log cannot be read.
        """
        count = 0
        for note in self._log.notes():
            if not isinstance(note, Committed):
                continue
            for sealed in note.batches:
                if sealed.segment != segment or recovery.is_whole(
                    self._store, segment, sealed.offset
                ):
                    continue
                link = Link(sealed.epoch, sealed.seq, sealed.hash)
                dropped = self._chains.drop_one(link, DropReason.QUARANTINED)
                self._drops.add(dropped)
                count += len(dropped)
        return count

    # -- drops -----------------------------------------------------------------------------------

    def undeclared(self) -> tuple[DroppedRange, ...]:
        """Return dropped ranges that the next header has to state."""
        return tuple(self._drops.joined()[:DECLARED_RANGES_MAX])

    def declared(self, count: int, by: SealedBatch) -> None:
        """Note that the header of a batch states the first ``count`` of them."""
        if count:
            # Noted with the commit that stores that header, and not before.
            self._declaring.append(Declared(by.epoch, by.seq, self._drops.take(count)))

    # -- space -----------------------------------------------------------------------------------

    def _make_room(self, needed: int, priority: Priority) -> None:
        limit = self._settings.size_bytes_max
        if priority is not Priority.HIGH:
            limit = limit * (100 - self._settings.high_reserve_percent) // 100
        while self._segments and self.size_bytes + needed > limit:
            if not self._evict_one(priority):
                if priority is Priority.HIGH or self.size_bytes + needed > limit:
                    raise OutboxFull(
                        "the outbox is full of more urgent batches",
                        hint="connect the agent to its collector, or raise outbox.size_bytes_max",
                    )
                return

    def _evict_one(self, priority: Priority) -> bool:
        """Remove the segment that is missed least; False when only more urgent ones are left."""
        idle = [s for s in self._segments.values() if not s.is_open and s.filled == s.durable]
        settled = [s for s in idle if not self._owes(s)]
        if settled:
            self._free(min(settled, key=_age), DropReason.EVICTED)
            return True
        lower = _EVICTION_ORDER[: _EVICTION_ORDER.index(priority) + 1]
        evictable = [s for s in idle if s.id.priority in lower]
        # The file in use goes last, and never the one this batch was meant for.
        evictable = evictable or [
            s
            for s in self._segments.values()
            if s.id.priority in lower[:-1] and s.filled == s.durable
        ]
        if not evictable:
            return False
        self._free(
            min(evictable, key=lambda s: (_EVICTION_ORDER.index(s.id.priority), _age(s))),
            DropReason.EVICTED,
        )
        return True

    def _trim(self) -> None:
        """Remove segments that are receipted, beyond the share kept for a collector's restore."""
        settled = sorted(
            (s for s in self._segments.values() if not s.is_open and not self._owes(s)),
            key=_age,
        )
        allowed = self._settings.size_bytes_max * self._settings.receipted_percent_max // 100
        kept = sum(segment.size for segment in settled)
        for segment in settled:
            if kept <= allowed:
                break
            kept -= segment.size
            self._free(segment, DropReason.EVICTED)

    def _owes(self, segment: Segment) -> bool:
        return self._chains.owed_in(segment.id) > 0

    def _free(self, segment: Segment, reason: DropReason) -> None:
        """Remove a segment; the note goes first, so a crash between leaves nothing unexplained."""
        dropped = tuple(self._chains.drop(segment.id, reason))
        self._drops.add(dropped)
        self._waiting.append(Freed(segment.id, dropped))
        # On a disk so full that the note does not fit, space comes first. Should the daemon die
        # before the note is written, recovery names the missing file's batches itself.
        with contextlib.suppress(OutboxFailed):
            self._log_waiting()
        self._store.remove(segment)
        del self._segments[segment.id.number]
        if self._active.get(segment.id.priority) is segment:
            del self._active[segment.id.priority]
        self._compact_if_large()

    def _compact_if_large(self) -> None:
        if self._log.size_bytes < self._compact_at:
            return
        live = {segment.id for segment in self._segments.values()}
        keep = self._settings.header_log_bytes_max
        # Where there is no room for the new log, the old one stands and grows.
        with contextlib.suppress(OutboxFailed):
            sealed = [item for note in self._declaring for item in note.dropped]
            unstated = (*sealed, *self._drops.unstated)
            kept = recovery.Keep(live, self._chains, self._drops, keep)
            recovery.compact(self._log, kept, unstated)
            self._waiting = [_without_ranges(note) for note in self._waiting]
        self._compact_at = 2 * max(keep, self._log.size_bytes)


def _without_ranges(note: Note) -> Note:
    return Freed(note.segment, ()) if isinstance(note, Freed) else note


def _evicted(batch: SealedBatch) -> DroppedRange:
    return DroppedRange(
        reason=DropReason.EVICTED,
        epoch=batch.epoch,
        first_seq=batch.seq,
        last_seq=batch.seq,
        last_header_hash=batch.hash,
        batches=1,
        records=batch.records,
    )


def _age(segment: Segment) -> int:
    return segment.id.number


def _same_epoch(note: Note, receipt: Receipted) -> bool:
    return isinstance(note, Receipted) and note.epoch == receipt.epoch
