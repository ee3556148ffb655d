"""What of the sealed chains is still owed a receipt, and in which segment it lies.

Per batch this keeps a hash, a segment number and a record count in flat arrays (about 40 bytes), so
that a week of backlog costs megabytes and not a process.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec import Struct, structs

from agent.errors import DoorError
from agent.segments import SegmentId
from proto.model import DroppedRange, DropReason

_SETTLED = 0


class Link(Struct, frozen=True):
    """One batch of a chain."""

    epoch: bytes
    seq: int
    hash: bytes


class _Epoch:
    """Batches ``first`` to ``first + len - 1`` of one epoch, oldest unsettled first."""

    def __init__(self, epoch: bytes, first: int) -> None:
        self.epoch = epoch
        self.first = first
        self.hashes = bytearray()
        self.segments = array("Q")
        self.records = array("I")

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def last(self) -> int:
        return self.first + len(self) - 1

    def hash_at(self, seq: int) -> bytes:
        at = (seq - self.first) * 32
        return bytes(self.hashes[at : at + 32])

    def put(self, link: Link, segment: int, records: int) -> None:
        """Set one batch; places between that nobody knows count as settled."""
        before = self.first - link.seq
        if before > 0:
            self.hashes[:0] = bytes(32 * before)
            self.segments = array("Q", [_SETTLED] * before) + self.segments
            self.records = array("I", [0] * before) + self.records
            self.first = link.seq
        beyond = link.seq - self.last
        if beyond > 0:
            self.hashes += bytes(32 * beyond)
            self.segments.extend([_SETTLED] * beyond)
            self.records.extend([0] * beyond)
        at = link.seq - self.first
        self.hashes[at * 32 : at * 32 + 32] = link.hash
        self.segments[at] = segment
        self.records[at] = records

    def trim(self) -> None:
        """Forget settled batches at the front, all but the newest of the chain."""
        count = 0
        while count < len(self) - 1 and self.segments[count] == _SETTLED:
            count += 1
        if count > 64 or count == len(self) - 1:
            del self.hashes[: count * 32]
            del self.segments[:count]
            del self.records[:count]
            self.first += count


class Chains:
    """All epochs with something unsettled, and the newest one."""

    def __init__(self) -> None:
        self._epochs: dict[bytes, _Epoch] = {}
        self._owed: dict[int, int] = {}
        self.head: Link | None = None

    @property
    def owed(self) -> int:
        """How many batches wait for a receipt."""
        return sum(self._owed.values())

    def owed_in(self, segment: SegmentId) -> int:
        """Return how many batches of a segment wait for a receipt."""
        return self._owed.get(segment.number, 0)

    def is_owed(self, epoch: bytes, seq: int) -> bool:
        """Return whether a batch waits for a receipt."""
        chain = self._epochs.get(epoch)
        at = seq - chain.first if chain is not None else -1
        return chain is not None and 0 <= at < len(chain) and chain.segments[at] != _SETTLED

    def add(self, link: Link, segment: SegmentId, records: int) -> None:
        """Take in a batch that has become durable, or is found in another segment."""
        chain = self._epochs.get(link.epoch)
        if chain is None:
            chain = self._epochs[link.epoch] = _Epoch(link.epoch, link.seq)
        self._settle_one(chain, link.seq)
        chain.put(link, segment.number, records)
        self._owed[segment.number] = self._owed.get(segment.number, 0) + 1
        if self.head is None or self.head.epoch != link.epoch or self.head.seq < link.seq:
            self.head = link

    def settle(self, epoch: bytes, seq: int, header_hash: bytes, ahead: dict[int, bytes]) -> int:
        """Take in a receipt whose signature has been verified.

        Args:
            epoch: the epoch it speaks of.
            seq: everything up to here is kept.
            header_hash: of the batch at ``seq``; empty when ``seq`` is 0.
            ahead: further batches kept beyond a hole, by sequence number.

        Returns:
            How many batches it settled.

        Raises:
            DoorError: it names a batch we never sealed, or another header in its place.
        """
        chain = self._epochs.get(epoch)
        if chain is None:
            return 0
        named = ({seq: header_hash} if seq else {}) | ahead
        for number, digest in named.items():
            if number > chain.last:
                raise DoorError("a receipt names a batch that was never sealed")
            if number >= chain.first and chain.hash_at(number) not in {digest, bytes(32)}:
                raise DoorError("a receipt names another header than the one sealed")
        settled = 0
        for number in (*range(chain.first, seq + 1), *ahead):
            settled += self._settle_one(chain, number)
        chain.trim()
        self._forget_finished()
        return settled

    def drop(self, segment: SegmentId, reason: DropReason) -> list[DroppedRange]:
        """Settle what a segment held by giving it up; return it as contiguous ranges."""
        ranges: list[DroppedRange] = []
        for chain in self._epochs.values():
            for first, last in _runs(chain, segment.number):
                span = range(first - chain.first, last - chain.first + 1)
                ranges.append(
                    DroppedRange(
                        reason=reason,
                        epoch=chain.epoch,
                        first_seq=first,
                        last_seq=last,
                        last_header_hash=chain.hash_at(last),
                        batches=last - first + 1,
                        records=sum(chain.records[i] for i in span),
                    )
                )
        for dropped in ranges:
            chain = self._epochs[dropped.epoch]
            for seq in range(dropped.first_seq, dropped.last_seq + 1):
                self._settle_one(chain, seq)
        self._forget_finished()
        return ranges

    def drop_one(self, link: Link, reason: DropReason) -> list[DroppedRange]:
        """Give up a single batch, whose bytes were found damaged."""
        chain = self._epochs.get(link.epoch)
        if chain is None or not chain.first <= link.seq <= chain.last:
            return []
        records = chain.records[link.seq - chain.first]
        digest = chain.hash_at(link.seq)
        if not self._settle_one(chain, link.seq):
            return []
        return [
            DroppedRange(
                reason=reason,
                epoch=link.epoch,
                first_seq=link.seq,
                last_seq=link.seq,
                last_header_hash=digest,
                batches=1,
                records=records,
            )
        ]

    def _settle_one(self, chain: _Epoch, seq: int) -> int:
        at = seq - chain.first
        if not 0 <= at < len(chain) or chain.segments[at] == _SETTLED:
            return 0
        self._owed[chain.segments[at]] -= 1
        chain.segments[at] = _SETTLED
        return 1

    def _forget_finished(self) -> None:
        current = self.head.epoch if self.head else b""
        for epoch, chain in list(self._epochs.items()):
            if epoch != current and not any(chain.segments):
                del self._epochs[epoch]


def _runs(chain: _Epoch, number: int) -> Iterator[tuple[int, int]]:
    start: int | None = None
    for at, segment in enumerate(chain.segments):
        if segment == number and start is None:
            start = at
        elif segment != number and start is not None:
            yield chain.first + start, chain.first + at - 1
            start = None
    if start is not None:
        yield chain.first + start, chain.last


class Drops:
    """Dropped ranges on their way to the collector: to be stated, or stated in a batch it awaits.

    What a header states is said only when that header arrives. Should it be dropped in its turn,
    the next one says both.
    """

    def __init__(self) -> None:
        # As they came, so that what was stated can be told from what came beside it later.
        self.unstated: list[DroppedRange] = []
        self._stated: dict[tuple[bytes, int], tuple[DroppedRange, ...]] = {}

    def add(self, ranges: Iterable[DroppedRange]) -> None:
        """Take in ranges that have just been dropped."""
        dropped = tuple(ranges)
        again = [key for key in self._stated if any(_holds(item, key) for item in dropped)]
        back = [item for key in again for item in self._stated.pop(key)]
        self.unstated = [*back, *self.unstated, *dropped]

    def joined(self) -> list[DroppedRange]:
        """Return what is to be stated, in the fewest ranges that say it."""
        return _joined(self.unstated)

    def take(self, count: int) -> tuple[DroppedRange, ...]:
        """Return the first ``count`` of the joined ranges, which a header is about to state."""
        taken = tuple(self.joined()[:count])
        self._forget(taken)
        return taken

    def _forget(self, ranges: tuple[DroppedRange, ...]) -> None:
        self.unstated = [
            item for item in self.unstated if not any(_covers(other, item) for other in ranges)
        ]

    def stated(self, epoch: bytes, seq: int, ranges: tuple[DroppedRange, ...]) -> None:
        """Note that a batch which is durable states these."""
        self._forget(ranges)
        self._stated[epoch, seq] = ranges

    def arrived(self, epoch: bytes, seq: int, ahead: Collection[int]) -> None:
        """Note that the collector has an epoch up to ``seq``, and some batches ahead."""
        for key in [k for k in self._stated if k[0] == epoch and (k[1] <= seq or k[1] in ahead)]:
            del self._stated[key]

    def is_awaited(self, epoch: bytes, seq: int) -> bool:
        """Return whether a batch states what the collector has not heard yet."""
        return (epoch, seq) in self._stated


def _holds(item: DroppedRange, key: tuple[bytes, int]) -> bool:
    return item.epoch == key[0] and item.first_seq <= key[1] <= item.last_seq


def _covers(item: DroppedRange, other: DroppedRange) -> bool:
    is_within = item.first_seq <= other.first_seq and other.last_seq <= item.last_seq
    return is_within and item.epoch == other.epoch and item.reason is other.reason


def _joined(ranges: Sequence[DroppedRange]) -> list[DroppedRange]:
    """Return the fewest ranges that say the same, in the order of their epochs."""
    order = {item.epoch: n for n, item in reversed(list(enumerate(ranges)))}
    joined: list[DroppedRange] = []
    for item in sorted(ranges, key=lambda item: (order[item.epoch], item.first_seq)):
        last = joined[-1] if joined else None
        if last is None or not _follows(last, item):
            joined.append(item)
            continue
        joined[-1] = structs.replace(
            last,
            last_seq=item.last_seq,
            last_header_hash=item.last_header_hash,
            batches=last.batches + item.batches,
            records=last.records + item.records,
        )
    return joined


def _follows(one: DroppedRange, other: DroppedRange) -> bool:
    is_next = one.last_seq + 1 == other.first_seq
    return is_next and one.epoch == other.epoch and one.reason is other.reason
