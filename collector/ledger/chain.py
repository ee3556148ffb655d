"""Where a batch stands in its agent's history: a judgement over what is already kept, without IO.

A chain is one (agent, epoch). Its head is the highest sequence number below which nothing is
missing: every batch up to there is kept, or a signed header declared it lost. Batches beyond a hole
stand ``ahead`` and are as durable as any other.

What the judge says of a batch whose signature, digest and identity have been checked:

1. ``DUPLICATE``: the same header with the same signature is kept at its place already.
2. ``FORK``: its place is taken by another header or signature, or a neighbour that is kept names
   another header in its place. The first stays; this one is kept beside the chain.
3. ``ROLLBACK``: its epoch was continued by a later one before this place; or it opens an epoch on
   a place that the recorded history has already passed.
4. ``STATE_LOSS``: it opens an epoch that follows nothing we know.
5. ``HOLE``: something before it is missing.
6. ``ACCEPT``: it is the next.

Forks and rollbacks are what a stolen key or a restored machine looks like, so they put the agent in
quarantine, and so does an agent that says it remembers nothing. An epoch whose parent we have not
seen *yet* does not: batches of an outage may arrive out of order. Time plays no part in any of it.
"""

import enum
from bisect import insort

from msgspec import Struct, structs

from collector.errors import TooFarAhead
from proto.errors import Malformed
from proto.model import HEADER_VERSION, DroppedRange, EpochStart, Header

SEQ_MAX = 2**63 - 1
# As many as one receipt can name (`proto.model.Receipt.ahead`).
AHEAD_BATCHES_MAX = 1024
LOST_RANGES_MAX = 1024


class Verdict(enum.Enum):
    """What a batch is to the history it claims; the values are stable names, used as labels."""

    ACCEPT = "accept"
    DUPLICATE = "duplicate"
    HOLE = "hole"
    FORK = "fork"
    ROLLBACK = "rollback"
    STATE_LOSS = "state_loss"


QUARANTINING = frozenset({Verdict.FORK, Verdict.ROLLBACK})


class Place(Struct, frozen=True, order=True):
    """A sequence number and the hash of the header that stands there."""

    seq: int = 0
    hash: bytes = b""


class Lost(Struct, frozen=True, order=True):
    """A range that a signed header declared lost, and the hash of its last header."""

    first: int
    last: int
    hash: bytes


class Chain(Struct, frozen=True):
    """One epoch of one agent, as far as it is known.

    Args:
        head: everything up to here is kept or declared lost.
        kept: the newest batch kept at or below the head.
        ahead: batches kept beyond the head, in order.
        lost: ranges declared lost beyond the head, in order.
        end: where a later epoch says that it took over.
    """

    head: Place = Place()
    kept: Place = Place()
    ahead: tuple[Place, ...] = ()
    lost: tuple[Lost, ...] = ()
    end: Place | None = None

    def is_next(self, seq: int) -> bool:
        """Return whether nothing but the head is known at this place and around it."""
        return (
            seq == self.head.seq + 1
            and not self.ahead
            and not self.lost
            and (self.end is None or seq < self.end.seq)
        )

    @property
    def top(self) -> Place:
        """The highest place known, kept or lost."""
        beyond = [*self.ahead, *(Place(lost.last, lost.hash) for lost in self.lost)]
        return max(beyond, default=self.head)


class Signed(Struct, frozen=True):
    """What is kept at a place."""

    hash: bytes
    signature: bytes


class Around(Struct, frozen=True):
    """What is known at a place and next to it.

    Args:
        at: the batch kept there.
        before: the hash of the header before it.
        expected: the hash that what follows it, or a declaration, says it has.
    """

    at: Signed | None = None
    before: bytes | None = None
    expected: bytes | None = None


class Parent(Struct, frozen=True):
    """The chain that an epoch says it follows.

    Args:
        chain: as it stands.
        at: the hash known at the place the epoch names; None where the place is not reached yet.
    """

    chain: Chain
    at: bytes | None


def check_header(header: Header) -> None:
    """Refuse a header that contradicts itself.

    Raises:
        Malformed: an unknown version, or a place in its chain that cannot be.
    """
    if header.version != HEADER_VERSION:
        raise Malformed(f"header version {header.version} is not known")
    if not 1 <= header.seq <= SEQ_MAX:
        raise Malformed("a sequence number is outside its range")
    opens = header.opens
    if header.seq == 1:
        if header.previous != ((opens.parent_hash if opens else None) or b""):
            raise Malformed("the first header of an epoch does not name what it follows")
    elif opens is not None or len(header.previous) != 32:
        raise Malformed("a header that opens no epoch must name the one before it")
    if opens is not None:
        _check_opening(opens, header.epoch)
    for dropped in header.dropped:
        _check_dropped(dropped, header)


def _check_opening(opens: EpochStart, epoch: bytes) -> None:
    named = [opens.parent_epoch, opens.parent_seq, opens.parent_hash]
    if None in named and any(part is not None for part in named):
        raise Malformed("an epoch names its parent in part")
    if opens.parent_epoch == epoch:
        raise Malformed("an epoch names itself as its parent")
    if opens.parent_seq is not None and not 1 <= opens.parent_seq <= SEQ_MAX:
        raise Malformed("a sequence number is outside its range")


def _check_dropped(dropped: DroppedRange, header: Header) -> None:
    if not 1 <= dropped.first_seq <= dropped.last_seq <= SEQ_MAX:
        raise Malformed("a dropped range is not a range")
    if dropped.epoch != header.epoch:
        return
    if dropped.last_seq >= header.seq:
        raise Malformed("a header declares itself or a later one dropped")
    if dropped.last_seq == header.seq - 1 and dropped.last_header_hash != header.previous:
        raise Malformed("a header declares another one dropped than it names before it")


def judge_place(header: Header, sealed: Signed, around: Around) -> Verdict | None:
    """Say whether a batch fits between what is known around its place.

    Args:
        header: of the batch, checked by ``check_header``.
        sealed: hash and signature of that header.
        around: what is known at its place.

    Returns:
        Duplicate, fork, or None where nothing speaks against it.
    """
    if around.at is not None:
        return Verdict.DUPLICATE if around.at == sealed else Verdict.FORK
    if header.seq > 1 and around.before not in {None, header.previous}:
        return Verdict.FORK
    if around.expected not in {None, sealed.hash}:
        return Verdict.FORK
    return None


def judge_order(chain: Chain, seq: int) -> Verdict:
    """Say what a batch that fits its place is to its own chain.

    Args:
        chain: as it stands, what the batch itself declares lost included; empty for a new epoch.
        seq: of the batch.

    Raises:
        TooFarAhead: it lies beyond a hole and no more can be kept there.
    """
    if chain.end is not None and seq > chain.end.seq:
        return Verdict.ROLLBACK
    if seq <= chain.head.seq + 1:
        return Verdict.ACCEPT
    if len(chain.ahead) >= AHEAD_BATCHES_MAX:
        raise TooFarAhead(
            f"{len(chain.ahead)} batches are kept beyond a hole",
            hint=f"send the epoch from batch {chain.head.seq + 1} on",
        )
    return Verdict.HOLE


def judge_opening(
    opens: EpochStart | None, parent: Parent | None, *, is_only_root: bool
) -> Verdict:
    """Say what the first batch of an epoch is to the agent's earlier epochs.

    Args:
        opens: what the header says it follows.
        parent: the chain it names; None where that is not known or none is named.
        is_only_root: no other epoch of this agent is known to follow none. Other epochs may be
            known already: a history can arrive in any order.
    """
    if opens is None or opens.parent_seq is None:
        return Verdict.ACCEPT if is_only_root else Verdict.STATE_LOSS
    if parent is None:
        return Verdict.STATE_LOSS
    top = parent.chain.top
    if parent.chain.end is not None or opens.parent_seq < top.seq:
        return Verdict.ROLLBACK
    if opens.parent_seq > top.seq:
        return Verdict.HOLE
    return Verdict.ACCEPT if parent.at == opens.parent_hash else Verdict.ROLLBACK


def quarantines(verdict: Verdict, opens: EpochStart | None) -> bool:
    """Return whether the verdict alone is enough to stop trusting the agent."""
    if verdict is Verdict.STATE_LOSS:
        return opens is None or opens.parent_epoch is None
    return verdict in QUARANTINING


def place(chain: Chain, at: Place) -> Chain:
    """Return the chain with a batch kept at a place that was free."""
    if chain.is_next(at.seq):
        return Chain(head=at, kept=at, end=chain.end)
    if at.seq <= chain.head.seq:
        return structs.replace(chain, kept=max(chain.kept, at))
    ahead = list(chain.ahead)
    insort(ahead, at)
    return _advance(chain, ahead, list(chain.lost))


def declare(chain: Chain, lost: Lost) -> Chain:
    """Return the chain with a range declared lost; what is kept of it stays kept."""
    if lost.last <= chain.head.seq or len(chain.lost) >= LOST_RANGES_MAX:
        return chain
    ranges = list(chain.lost)
    insort(ranges, lost)
    return _advance(chain, list(chain.ahead), ranges)


def _advance(chain: Chain, ahead: list[Place], lost: list[Lost]) -> Chain:
    """Move the head as far as nothing is missing."""
    head, kept = chain.head, chain.kept
    while True:
        if ahead and ahead[0].seq <= head.seq + 1:
            kept = ahead.pop(0)
            head = max(head, kept)
        elif lost and lost[0].first <= head.seq + 1:
            gone = lost.pop(0)
            head = max(head, Place(gone.last, gone.hash))
        else:
            break
    return Chain(head=head, kept=kept, ahead=tuple(ahead), lost=tuple(lost), end=chain.end)
