"""Reads sealed batches out of the outbox, in the order of their chain.

`sense` writes one file per priority, so the next batch of an epoch is the smallest sequence number
at the front of its files. A high-priority batch may go first when a backlog stands before it,
within the bound that the collector allows for gaps. Memory does not grow with the backlog: per
file there is one position.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from agent.doorframes import Damaged, VisibleSegment
from agent.errors import SegmentDamaged
from agent.segments import Entry, SegmentId, find_next, read_frame, read_payload
from proto.model import Priority

# Places looked past in one call; what lies behind them is found in the next.
DAMAGE_MAX = 64


class Pending(Struct, frozen=True):
    """A batch to send: its place in the chain and the envelope as it was stored."""

    epoch: bytes
    seq: int
    priority: Priority
    payload: bytes


class _File:
    """One segment and how far it has been read."""

    def __init__(self, segment: SegmentId, path: Path, epoch: bytes) -> None:
        self.segment = segment
        self.path = path
        self.epoch = epoch
        self.durable = 0
        self.offset = 0
        self._fd = -1

    def read_at(self, offset: int, size: int) -> bytes:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return os.pread(self._fd, min(size, max(0, self.durable - offset)), offset)

    def front(self) -> Entry | None:
        """The entry at the position, or None when everything visible was read."""
        if self.offset >= self.durable:
            return None
        return read_frame(self.segment, self.offset, self.read_at)

    def skip_damage(self) -> None:
        """Move to the next entry that belongs to its place, or to the end."""
        data = self.read_at(0, self.durable)
        found = find_next(self.segment, self.offset + 1, data)
        self.offset = self.durable if found is None else found

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class OutboxReader:
    """The outbox as `sense` lets it be seen.

    Args:
        path: the directory of segments.
        ahead_batches_max: how far a high-priority batch may go ahead.
    """

    def __init__(self, path: Path, ahead_batches_max: int) -> None:
        self._path = path
        self._ahead_max = ahead_batches_max
        self._files: dict[str, _File] = {}
        self._floor: dict[bytes, int] = {}

    def show(self, segments: Iterable[VisibleSegment], *, is_all: bool) -> None:
        """Take in what may be read now.

        Raises:
            SegmentDamaged: a name that is not a segment's.
        """
        segments = tuple(segments)
        if is_all:
            for name in self._files.keys() - {item.name for item in segments}:
                self._files.pop(name).close()
        for item in segments:
            file = self._files.get(item.name)
            if file is None:
                segment = SegmentId.parse(item.name)
                file = self._files[item.name] = _File(segment, self._path / item.name, item.epoch)
            file.durable = item.durable

    def rewind(self) -> None:
        """Begin again at the oldest batch that is still there."""
        self._floor.clear()
        for file in self._files.values():
            file.offset = 0

    def resume(self, epoch: bytes, seq: int) -> None:
        """Begin again where the collector stands in an epoch; of others it has what it said."""
        for file in self._files.values():
            file.offset = 0
        self._floor[epoch] = seq

    def skip_below(self, epoch: bytes, seq: int) -> None:
        """Leave out batches of an epoch before ``seq``: the collector has them."""
        self._floor[epoch] = max(seq, self._floor.get(epoch, 0))

    def next(self) -> tuple[Pending | None, tuple[Damaged, ...]]:
        """Return the next batch, or None when all was read, and files found damaged."""
        damaged: list[Damaged] = []
        while (choice := self._choose(damaged)) is not None:
            file, entry = choice
            file.offset = entry.end
            if entry.seq < self._floor.get(file.epoch, 0):
                continue
            try:
                payload = read_payload(entry, file.read_at)
            except (SegmentDamaged, OSError):
                damaged.append(Damaged(str(file.segment)))
                continue
            pending = Pending(file.epoch, entry.seq, file.segment.priority, payload)
            return pending, tuple(damaged)
        return None, tuple(damaged)

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def _choose(self, damaged: list[Damaged]) -> tuple[_File, Entry] | None:
        fronts = self._fronts(damaged)
        if not fronts:
            return None
        oldest = min(fronts, key=lambda item: item[0].segment.number)[0].epoch
        epochs = [item for item in fronts if item[0].epoch == oldest]
        first = min(epochs, key=lambda item: item[1].seq)
        urgent = [
            item
            for item in epochs
            if item[0].segment.priority is Priority.HIGH
            and 0 < item[1].seq - first[1].seq <= self._ahead_max
        ]
        # One file a priority and epoch is read from its front, so nothing is read twice.
        return min(urgent, key=lambda item: item[1].seq) if urgent else first

    def _fronts(self, damaged: list[Damaged]) -> list[tuple[_File, Entry]]:
        """The front entry of the oldest unread file of each epoch and priority."""
        fronts: dict[tuple[bytes, Priority], tuple[_File, Entry]] = {}
        for file in sorted(self._files.values(), key=lambda item: item.segment.number):
            key = (file.epoch, file.segment.priority)
            if key in fronts:
                continue
            entry = self._front(file, damaged)
            if entry is not None:
                fronts[key] = (file, entry)
        return list(fronts.values())

    def _front(self, file: _File, damaged: list[Damaged]) -> Entry | None:
        try:
            return file.front()
        except SegmentDamaged:
            damaged.append(Damaged(str(file.segment)))
            file.skip_damage()
            return self._front(file, damaged) if len(damaged) < DAMAGE_MAX else None
        except OSError:
            # Removed by `sense` in this moment: the next frame says so.
            file.offset = file.durable
            return None
