"""What an earlier run left in the outbox, taken over whatever its state.

The header log is believed as far as its checks hold. Damage is set aside and counted, never a
reason not to start: batches that only the segments still know are taken back where their signature
is our own, and what is gone is named as dropped.
"""

from collections import deque

from msgspec import Struct, structs

from agent.errors import DoorError, SegmentDamaged
from agent.segments import FRAME_BYTES, Entry, SegmentId
from agent.sense.chains import Chains, Link
from agent.sense.headers import (
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
from proto.model import DroppedRange, DropReason, Priority


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
    """The outbox as recovery found it."""

    found: Recovered
    chains: Chains
    segments: dict[int, Segment]
    next_number: int
    undeclared: list[DroppedRange]


class _Replay:
    """Takes the notes in, in order."""

    def __init__(self) -> None:
        self.chains = Chains()
        self.ends: dict[SegmentId, int] = {}
        self.epochs: dict[SegmentId, bytes] = {}
        self.undeclared: deque[DroppedRange] = deque()
        self.cursors: dict[str, bytes] = {}
        self.boot_id = b""
        self.boot_clock = 0
        self.is_clean = False
        self.known: set[tuple[bytes, int]] = set()
        self.highest = 0
        self._head_segment = 0

    def take(self, note: Note) -> None:
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
                self.chains.drop(note.segment, DropReason.EVICTED)
                self.ends.pop(note.segment, None)
                self.undeclared.extend(note.dropped)
            case Declared():
                self._declared(note)
            case Stopped():
                self.cursors = note.cursors
                self.is_clean = True

    def _commit(self, note: Committed) -> None:
        self.cursors = note.cursors
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
        self.known.add((link.epoch, link.seq))
        self.ends[sealed.segment] = max(_end_of(sealed), self.ends.get(sealed.segment, 0))
        self.epochs[sealed.segment] = link.epoch

    def _receipt(self, note: Receipted) -> None:
        try:
            receipt = codec.decode_receipt(note.payload)
            ahead = {item.seq: item.header_hash for item in receipt.ahead}
            self.chains.settle(note.epoch, note.seq, receipt.header_hash, ahead)
        except (DoorError, WireError):
            # Only a damaged log can say this; the collector will send its receipt again.
            return

    def _declared(self, note: Declared) -> None:
        for dropped in note.dropped:
            # Named one by one, not counted: damage before this note moves no other range.
            if dropped in self.undeclared:
                self.undeclared.remove(dropped)
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
    notes, is_damaged = log.open()
    replay = _Replay()
    for note in notes:
        replay.take(note)
    sizes = dict(store.present())
    salvaged = _salvage(replay, store, sizes, key) if is_damaged or not notes else []
    if is_damaged or salvaged:
        again = Committed(tuple(salvaged), replay.cursors, replay.boot_clock)
        notes = [*notes, again] if salvaged else notes
        log.mend(notes)
    lost = _declare_missing(replay, notes, sizes)
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
        undeclared=list(replay.undeclared),
    )


def _salvage(
    replay: _Replay, store: SegmentStore, sizes: dict[SegmentId, int], key: Verifier
) -> list[Sealed]:
    """Take back batches that the segments hold and the log no longer tells of."""
    taken: list[Sealed] = []
    for segment in sorted(sizes):
        for entry, payload in _readable(store, segment):
            sealed = _own_batch(segment, entry, payload, key)
            if sealed is not None and (sealed.epoch, sealed.seq) not in replay.known:
                replay.add(sealed)
                taken.append(sealed)
    return taken


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


def _declare_missing(replay: _Replay, notes: list[Note], sizes: dict[SegmentId, int]) -> int:
    """Name what lay in segments that are gone, or behind the end of one cut short."""
    short = {s: sizes.get(s, 0) for s, end in replay.ends.items() if sizes.get(s, 0) < end}
    if not short:
        return 0
    whole = dict.fromkeys(short, 0)
    dropped: list[DroppedRange] = []
    for sealed in (b for note in notes if isinstance(note, Committed) for b in note.batches):
        if sealed.segment not in short:
            continue
        end = _end_of(sealed)
        if end <= short[sealed.segment]:
            whole[sealed.segment] = max(end, whole[sealed.segment])
        else:
            link = Link(sealed.epoch, sealed.seq, sealed.hash)
            dropped += replay.chains.drop_one(link, DropReason.QUARANTINED)
    replay.undeclared.extend(_joined(dropped))
    for segment, end in whole.items():
        replay.ends[segment] = end
        if not end:
            del replay.ends[segment]
    return len(dropped)


def _end_of(sealed: Sealed) -> int:
    return sealed.offset + FRAME_BYTES + sealed.length


def _joined(ranges: list[DroppedRange]) -> list[DroppedRange]:
    """Return ranges of one batch each as the fewest ranges that name the same."""
    joined: list[DroppedRange] = []
    for item in sorted(ranges, key=lambda item: (item.epoch, item.first_seq)):
        last = joined[-1] if joined else None
        if last and (last.epoch, last.last_seq + 1) == (item.epoch, item.first_seq):
            joined[-1] = structs.replace(
                last,
                last_seq=item.last_seq,
                last_header_hash=item.last_header_hash,
                batches=last.batches + item.batches,
                records=last.records + item.records,
            )
        else:
            joined.append(item)
    return joined


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


def compact(
    log: HeaderLog, live: set[SegmentId], undeclared: list[DroppedRange], bytes_max: int
) -> None:
    """Rewrite the header log: what has its body still, and the newest of what has not.

    Args:
        log: open.
        live: the segments that are there.
        undeclared: dropped ranges that no durable header has stated.
        bytes_max: room for headers whose body is gone.

    Raises:
        OutboxFailed: the old log stands.
    """
    kept: list[Note] = []
    for note in reversed(log.notes()):
        match note:
            case Committed():
                gone = sum(len(b.header) + 200 for b in note.batches if b.segment not in live)
                bytes_max -= gone
                batches = note.batches
                if bytes_max < 0:
                    batches = tuple(b for b in note.batches if b.segment in live)
                if batches or not any(isinstance(other, Committed) for other in kept):
                    kept.append(Committed(batches, note.cursors, note.boot_clock))
            case Opened() | Receipted():
                kept.append(note)
            case Freed():
                kept.append(Freed(note.segment, ()))
            case Declared():
                quarantined = (d for d in note.dropped if d.reason is DropReason.QUARANTINED)
                kept.append(Declared(tuple(quarantined)))
            case Stopped():
                continue
    kept.reverse()
    named = {b.segment for note in kept if isinstance(note, Committed) for b in note.batches}
    kept = [note for note in kept if _still_says_something(note, named)]
    if undeclared:
        kept.append(Freed(SegmentId(0, Priority.LOW), tuple(undeclared)))
    log.rewrite(_latest_receipts(kept))


def _still_says_something(note: Note, named: set[SegmentId]) -> bool:
    match note:
        case Freed():
            return note.segment in named
        case Declared():
            return bool(note.dropped)
        case _:
            return True


def _latest_receipts(notes: list[Note]) -> list[Note]:
    """Drop receipts that a later one of the same epoch covers."""
    seen: set[bytes] = set()
    kept: list[Note] = []
    for note in reversed(notes):
        if isinstance(note, Receipted):
            if note.epoch in seen:
                continue
            seen.add(note.epoch)
        kept.append(note)
    kept.reverse()
    return kept
