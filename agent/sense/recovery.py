"""What an earlier run left in the outbox, taken over whatever its state.

The header log is believed as far as its checks hold. Damage is set aside and counted, never a
reason not to start: batches that only the segments still know are taken back where their signature
is our own, and what is gone is named as dropped.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from msgspec import Struct, structs

from agent.errors import DoorError, OutboxFailed, SegmentDamaged
from agent.segments import FRAME_BYTES, Entry, SegmentId
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
from agent.sense.segstore import Segment, SegmentStore
from proto import codec, envelope
from proto.envelope import PayloadType, Verifier
from proto.errors import WireError
from proto.model import DroppedRange, DropReason


class Recovered(Struct, frozen=True):
    """What the daemon has to know of the run before it.

    ``is_damaged`` says that bytes had to be set aside; ``salvaged`` batches were found again in the
    segments, ``lost`` ones were not.
    """

    head: Link | None
    is_clean: bool
    cursors: dict[str, bytes]
    boot_id: bytes
    boot_clock: int
    is_damaged: bool
    salvaged: int
    lost: int


class State(Struct):
    """The outbox as recovery found it; ``unnoted`` is what the log has still to be told."""

    found: Recovered
    chains: Chains
    segments: dict[int, Segment]
    next_number: int
    drops: Drops
    unnoted: tuple[Note, ...]


class _Replay:
    """Takes the notes in, in order."""

    def __init__(self) -> None:
        self.chains = Chains()
        self.ends: dict[SegmentId, int] = {}
        self.epochs: dict[SegmentId, bytes] = {}
        self.drops = Drops()
        self.cursors: dict[str, bytes] = {}
        self.boot_id = b""
        self.boot_clock = 0
        self.is_clean = False
        self.count = 0
        self.highest = 0
        self._head_segment = 0

    def take(self, note: Note) -> None:
        self.count += 1
        self.is_clean = False
        match note:
            case Opened():
                self.boot_id, self.boot_clock = note.boot_id, note.boot_clock
            case Committed():
                self._commit(note)
            case Receipted():
                self._receipt(note)
            case Freed():
                self.highest = max(note.segment.number, self.highest)
                if note.segment != NO_SEGMENT:
                    self.chains.drop(note.segment, DropReason.EVICTED)
                self.ends.pop(note.segment, None)
                self.drops.add(note.dropped)
            case Declared():
                self._declared(note)
            case Stopped():
                self.cursors = note.cursors
                self.is_clean = True

    def _commit(self, note: Committed) -> None:
        self.cursors = note.cursors or self.cursors
        self.boot_clock = note.boot_clock
        for sealed in note.batches:
            self.add(sealed)

    def add(self, sealed: Sealed) -> None:
        head = self.chains.head
        link = Link(sealed.epoch, sealed.seq, sealed.hash)
        self.chains.add(link, sealed.segment, sealed.records)
        # Segments are numbered in the order they were made, so any of an epoch places the epoch.
        if head and head.epoch != link.epoch and sealed.segment.number < self._head_segment:
            self.chains.head = head
        else:
            self._head_segment = sealed.segment.number
        self.highest = max(sealed.segment.number, self.highest)
        self.ends[sealed.segment] = max(_end_of(sealed), self.ends.get(sealed.segment, 0))
        self.epochs[sealed.segment] = link.epoch

    def _receipt(self, note: Receipted) -> None:
        try:
            receipt = codec.decode_receipt(note.payload)
            ahead = {item.seq: item.header_hash for item in receipt.ahead}
            self.chains.settle(note.epoch, note.seq, receipt.header_hash, ahead)
            self.drops.arrived(note.epoch, note.seq, ahead)
        except (DoorError, WireError):
            # Only a damaged log can say this; the collector will send its receipt again.
            return

    def _declared(self, note: Declared) -> None:
        self.drops.stated(note.epoch, note.seq, note.dropped)
        for dropped in note.dropped:
            for seq in range(dropped.first_seq, dropped.last_seq + 1):
                self.chains.drop_one(Link(dropped.epoch, seq, b""), dropped.reason)


def recover(log: HeaderLog, store: SegmentStore, key: Verifier) -> State:
    """Read the header log and match it with the files that are there.

    Args:
        log: not yet opened.
        store: the segments.
        key: verifies our own signatures.

    Raises:
        OSError: the file system refuses the directory altogether.
    """
    is_damaged = log.open()
    replay = _Replay()
    for note in log.notes():
        replay.take(note)
    sizes = dict(store.present())
    salvaged: tuple[Sealed, ...] = ()
    unnoted: tuple[Note, ...] = ()
    if is_damaged or not replay.count:
        known = {(b.epoch, b.seq) for b in _batches(log.notes())}
        salvaged = tuple(_salvage(known, store, sizes, key))
        for sealed in salvaged:
            replay.add(sealed)
        again = Committed(salvaged, replay.cursors, replay.boot_clock)
        unnoted = (again,) if salvaged else ()
        with contextlib.suppress(OutboxFailed):
            log.mend(chain(log.notes(), unnoted))
            unnoted = ()
    lost = _declare_missing(replay, chain(_batches(log.notes()), salvaged), sizes)
    segments = _take_over(replay, store, sizes)
    found = Recovered(
        head=replay.chains.head,
        is_clean=replay.is_clean and not is_damaged,
        cursors=replay.cursors,
        boot_id=replay.boot_id,
        boot_clock=replay.boot_clock,
        is_damaged=is_damaged,
        salvaged=len(salvaged),
        lost=lost,
    )
    return State(
        found=found,
        chains=replay.chains,
        segments=segments,
        next_number=max(replay.highest, *(segment.number for segment in sizes), 0) + 1,
        drops=replay.drops,
        unnoted=unnoted,
    )


def _batches(notes: Iterable[Note]) -> Iterator[Sealed]:
    for note in notes:
        if isinstance(note, Committed):
            yield from note.batches


def _salvage(
    known: set[tuple[bytes, int]], store: SegmentStore, sizes: dict[SegmentId, int], key: Verifier
) -> Iterator[Sealed]:
    """Yield batches that the segments hold and the log no longer tells of."""
    for segment in sorted(sizes):
        for entry, payload in _readable(store, segment):
            sealed = _own_batch(segment, entry, payload, key)
            if sealed is not None and (sealed.epoch, sealed.seq) not in known:
                known.add((sealed.epoch, sealed.seq))
                yield sealed


def _readable(store: SegmentStore, segment: SegmentId) -> list[tuple[Entry, bytes]]:
    try:
        with store.reader(segment) as reader:
            return list(reader.salvage())
    except OSError:
        # A place the disk no longer gives back: what lies there is named as damaged when read.
        return []


def _own_batch(segment: SegmentId, entry: Entry, payload: bytes, key: Verifier) -> Sealed | None:
    try:
        header_bytes, signature, _ = codec.decode_envelope(payload)
        envelope.verify(PayloadType.BATCH, header_bytes, signature, key)
        header = codec.decode_header(header_bytes)
    except WireError:
        # Not one of ours: salvage looks at whatever bytes are there.
        return None
    return Sealed(
        epoch=header.epoch,
        seq=header.seq,
        hash=envelope.header_hash(PayloadType.BATCH, header_bytes),
        segment=segment,
        offset=entry.offset,
        length=entry.length,
        records=header.records,
        header=header_bytes,
        signature=signature,
    )


def _declare_missing(
    replay: _Replay, batches: Iterable[Sealed], sizes: dict[SegmentId, int]
) -> int:
    """Name what lay in segments that are gone, or behind the end of one cut short."""
    short = {s: sizes.get(s, 0) for s, end in replay.ends.items() if sizes.get(s, 0) < end}
    if not short:
        return 0
    whole = dict.fromkeys(short, 0)
    dropped: list[DroppedRange] = []
    for sealed in batches:
        if sealed.segment not in short:
            continue
        end = _end_of(sealed)
        if end <= short[sealed.segment]:
            whole[sealed.segment] = max(end, whole[sealed.segment])
        else:
            link = Link(sealed.epoch, sealed.seq, sealed.hash)
            dropped += replay.chains.drop_one(link, DropReason.QUARANTINED)
    replay.drops.add(dropped)
    for segment, end in whole.items():
        replay.ends[segment] = end
        if not end:
            del replay.ends[segment]
    return len(dropped)


def _end_of(sealed: Sealed) -> int:
    return sealed.offset + FRAME_BYTES + sealed.length


def _take_over(
    replay: _Replay, store: SegmentStore, sizes: dict[SegmentId, int]
) -> dict[int, Segment]:
    segments = {}
    for segment, size in sizes.items():
        taken = store.existing(segment, size, replay.epochs.get(segment, b""))
        if segment in replay.ends:
            taken.filled = taken.durable = replay.ends[segment]
            segments[segment.number] = taken
        else:
            # Written but never committed, or noted as freed before the crash.
            store.remove(taken)
    return segments


def is_whole(store: SegmentStore, segment: SegmentId, offset: int) -> bool:
    """Return whether the entry at an offset reads back as it was written."""
    try:
        with store.reader(segment) as reader:
            reader.payload_at(offset)
    except (SegmentDamaged, OSError):
        return False
    return True


class Keep(Struct, frozen=True):
    """What a compacted log holds.

    Args:
        live: the segments that are there.
        chains: which batches are owed a receipt; their headers stay.
        drops: which batches state what the collector has not heard yet.
        bytes_max: room for the headers of those that are not, newest first.
    """

    live: set[SegmentId]
    chains: Chains
    drops: Drops
    bytes_max: int


def compact(log: HeaderLog, keep: Keep, unstated: Sequence[DroppedRange]) -> None:
    """Rewrite the header log without what nobody will ask for again.

    Args:
        log: open.
        keep: what stays.
        unstated: dropped ranges that no durable header states.

    Raises:
        OutboxFailed: the old log stands.
    """
    last, sizes = 0, []
    receipts: dict[bytes, int] = {}
    for at, note in enumerate(log.notes()):
        if isinstance(note, Committed):
            last = at
            sizes.append((at, sum(len(b.header) for b in note.batches if not _owes(keep, b))))
        elif isinstance(note, Receipted):
            receipts[note.epoch] = at
    room = keep.bytes_max
    since = last
    for at, size in reversed(sizes):
        room -= size
        if room < 0:
            break
        since = at
    wanted = {last, *receipts.values()}
    notes = (
        kept
        for at, note in enumerate(log.notes())
        if (kept := _compacted(note, keep, is_new=at >= since, is_last=at in wanted)) is not None
    )
    rest = (Freed(NO_SEGMENT, tuple(unstated)),) if unstated else ()
    log.rewrite(chain(notes, rest))


def _owes(keep: Keep, sealed: Sealed) -> bool:
    return keep.chains.is_owed(sealed.epoch, sealed.seq)


def _compacted(note: Note, keep: Keep, *, is_new: bool, is_last: bool) -> Note | None:
    """Return what remains of a note, or None; ``is_last`` of its kind, for commits and receipts."""
    match note:
        case Committed():
            batches = note.batches if is_new else tuple(_slim(note.batches, keep))
            cursors = note.cursors if is_new else {}
            return Committed(batches, cursors, note.boot_clock) if batches or is_last else None
        case Opened():
            return note
        case Receipted():
            return note if is_last else None
        case Freed():
            # Its batches may be named still; its dropped ranges are in `unstated`, or declared.
            return Freed(note.segment, ()) if is_new else None
        case Declared():
            found = note.dropped
            if not keep.drops.is_awaited(note.epoch, note.seq):
                found = tuple(d for d in found if d.reason is DropReason.QUARANTINED)
            return Declared(note.epoch, note.seq, found) if found else None
        case Stopped():
            return None


def _slim(batches: Sequence[Sealed], keep: Keep) -> Iterator[Sealed]:
    for sealed in batches:
        if _owes(keep, sealed):
            yield sealed
        elif sealed.segment in keep.live:
            # Where the body lies there is the header too.
            yield structs.replace(sealed, header=b"", signature=b"")
