"""What an earlier run left in the outbox, taken over whatever its state.

The header log is believed as far as its checks hold. Damage is set aside and counted, never a
reason not to start: batches that only the segments still know are taken back where their signature
is our own, and what is gone is named as dropped.
"""

from collections import deque

from msgspec import Struct

from agent.errors import DoorError, SegmentDamaged
from agent.segments import FRAME_BYTES, SegmentId
from agent.sense.chains import Chains, Link
from agent.sense.headers import (
    Committed,
    Declared,
    Freed,
    HeaderLog,
    Note,
    Opened,
    Receipted,
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
                self.chains.drop(note.segment, DropReason.EVICTED)
                self.ends.pop(note.segment, None)
                self.undeclared.extend(note.dropped)
            case Declared():
                for _ in range(min(note.ranges, len(self.undeclared))):
                    self.undeclared.popleft()
            case Stopped():
                self.cursors = note.cursors
                self.is_clean = True

    def _commit(self, note: Committed) -> None:
        self.cursors = note.cursors
        self.boot_clock = note.boot_clock
        for sealed in note.batches:
            link = Link(sealed.epoch, sealed.seq, sealed.hash)
            self.chains.add(link, sealed.segment, sealed.records)
            self.known.add((sealed.epoch, sealed.seq))
            end = sealed.offset + FRAME_BYTES + sealed.length
            self.ends[sealed.segment] = max(end, self.ends.get(sealed.segment, 0))
            self.epochs[sealed.segment] = sealed.epoch

    def _receipt(self, note: Receipted) -> None:
        receipt = codec.decode_receipt(note.payload)
        ahead = {item.seq: item.header_hash for item in receipt.ahead}
        try:
            self.chains.settle(note.epoch, note.seq, receipt.header_hash, ahead)
        except DoorError:
            # Only a damaged log can say this; the collector will send its receipt again.
            return


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
    salvaged = _salvage(replay, store, sizes, key) if is_damaged or not notes else 0
    lost = _declare_missing(replay, sizes)
    segments = _take_over(replay, store, sizes)
    numbers = [segment.number for segment in (*sizes, *replay.ends)]
    found = Recovered(
        head=replay.chains.head,
        is_clean=replay.is_clean and not is_damaged,
        cursors=replay.cursors,
        boot_id=replay.boot_id,
        boot_clock=replay.boot_clock,
        is_damaged=is_damaged,
        salvaged=salvaged,
        lost=lost,
    )
    return State(
        found=found,
        chains=replay.chains,
        segments=segments,
        next_number=max(numbers, default=0) + 1,
        undeclared=list(replay.undeclared),
    )


def _salvage(
    replay: _Replay, store: SegmentStore, sizes: dict[SegmentId, int], key: Verifier
) -> int:
    """Take back batches that the segments hold and the log no longer tells of."""
    count = 0
    for segment in sorted(sizes):
        with store.reader(segment) as reader:
            for entry, payload in reader.salvage():
                link_records = _own_batch(payload, key)
                if link_records is None:
                    continue
                link, records = link_records
                if (link.epoch, link.seq) in replay.known:
                    continue
                replay.known.add((link.epoch, link.seq))
                replay.chains.add(link, segment, records)
                replay.ends[segment] = max(entry.end, replay.ends.get(segment, 0))
                replay.epochs[segment] = link.epoch
                count += 1
    return count


def _own_batch(payload: bytes, key: Verifier) -> tuple[Link, int] | None:
    try:
        header_bytes, signature, _ = codec.decode_envelope(payload)
        envelope.verify(PayloadType.BATCH, header_bytes, signature, key)
        header = codec.decode_header(header_bytes)
    except WireError:
        # Not one of ours: salvage looks at whatever bytes are there.
        return None
    digest = envelope.header_hash(PayloadType.BATCH, header_bytes)
    return Link(header.epoch, header.seq, digest), header.records


def _declare_missing(replay: _Replay, sizes: dict[SegmentId, int]) -> int:
    """Name what lies in segments that are gone or cut short."""
    lost = 0
    for segment in [s for s, end in replay.ends.items() if sizes.get(s, 0) < end]:
        dropped = replay.chains.drop(segment, DropReason.QUARANTINED)
        lost += sum(item.batches for item in dropped)
        replay.undeclared.extend(dropped)
        del replay.ends[segment]
    return lost


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
    """Rewrite the header log: what is still owed, and the newest of what is settled.

    Raises:
        OutboxFailed: the old log stands.
    """
    notes = log.notes()
    room = bytes_max
    kept: list[Note] = []
    has_commit = False
    for note in reversed(notes):
        if isinstance(note, Committed):
            batches = tuple(sealed for sealed in note.batches if sealed.segment in live)
            settled = tuple(sealed for sealed in note.batches if sealed.segment not in live)
            size = sum(len(sealed.header) + 200 for sealed in settled)
            if size <= room:
                room -= size
                batches = note.batches
            if batches or not has_commit:
                kept.append(Committed(batches, note.cursors, note.boot_clock))
            has_commit = True
        elif isinstance(note, Opened | Receipted):
            kept.append(note)
    kept.reverse()
    if undeclared:
        kept.append(Freed(SegmentId(0, Priority.LOW), tuple(undeclared)))
    log.rewrite(_latest_receipts(kept))


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
