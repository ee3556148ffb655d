"""The chains of one tenant's file, as values of `collector.ledger.chain`.

Chains are cached between transactions; whoever rolls one back calls ``forget``.
"""

import sqlite3
from collections import OrderedDict
from typing import Any

from collector.ledger.chain import Around, Chain, Lost, Parent, Place, Signed, declare
from collector.ledger.ports import Head
from proto.codec import decode_header
from proto.model import DroppedRange, EpochStart, SeqHash

CHAINS_CACHED_MAX = 65_536

_COLUMNS = "chain, agent, epoch, head_seq, head_hash, kept_seq, kept_hash, end_seq, end_hash"


class Epoch:
    """One chain with its row: changed in memory, written once at the end of a transaction."""

    __slots__ = ("agent", "chain", "epoch", "hole_since", "row")

    def __init__(self, row: int, agent: bytes, epoch: bytes, chain: Chain) -> None:
        self.row = row
        self.agent = agent
        self.epoch = epoch
        self.chain = chain
        self.hole_since: int | None = None

    def to_head(self) -> Head:
        """Return what a receipt says of it."""
        chain = self.chain
        return Head(
            agent=self.agent,
            epoch=self.epoch,
            seq=chain.kept.seq,
            header_hash=chain.kept.hash,
            ahead=tuple(SeqHash(seq=one.seq, header_hash=one.hash) for one in chain.ahead),
            wanted=chain.head.seq + 1,
        )


def to_lost(dropped: DroppedRange) -> Lost:
    """Return what a declaration means to its chain."""
    return Lost(dropped.first_seq, dropped.last_seq, dropped.last_header_hash)


class History:
    """Reads chains from a tenant's file, and writes those that changed.

    Args:
        db: the file's connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._epochs: OrderedDict[tuple[bytes, bytes], Epoch] = OrderedDict()

    def forget(self) -> None:
        """Drop everything cached: the file is what counts."""
        self._epochs.clear()

    def find(self, agent: bytes, epoch: bytes) -> Epoch | None:
        """Return a chain that is known.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        key = (agent, epoch)
        found = self._epochs.get(key)
        if found is None:
            found = load_epoch(self._db, agent, epoch)
            if found is None:
                return None
            self._epochs[key] = found
            if len(self._epochs) > CHAINS_CACHED_MAX:
                self._epochs.popitem(last=False)
        return found

    def create(self, agent: bytes, epoch: bytes) -> Epoch:
        """Begin a chain; an epoch that came before it and names it as its parent ends it.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        cursor = self._db.execute("INSERT INTO chains (agent, epoch) VALUES (?, ?)", (agent, epoch))
        child = self._db.execute(
            "SELECT parent_seq, parent_hash FROM chains WHERE agent = ? AND parent_epoch = ?"
            " ORDER BY chain LIMIT 1",
            (agent, epoch),
        ).fetchone()
        chain = Chain(end=Place(*child) if child else None)
        created = Epoch(int(cursor.lastrowid or 0), agent, epoch, chain)
        self._epochs[agent, epoch] = created
        return created

    def has_other_root(self, epoch: Epoch) -> bool:
        """Return whether another epoch of the agent is known to follow none.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        row = self._db.execute(
            "SELECT 1 FROM chains WHERE agent = ? AND is_root AND chain <> ? LIMIT 1",
            (epoch.agent, epoch.row),
        ).fetchone()
        return row is not None

    def open(self, epoch: Epoch, opens: EpochStart | None) -> None:
        """Note what an epoch follows, as its first batch says.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        parent = (opens.parent_epoch, opens.parent_seq, opens.parent_hash) if opens else (None,) * 3
        self._db.execute(
            "UPDATE chains SET is_root = ?, parent_epoch = ?, parent_seq = ?, parent_hash = ?"
            " WHERE chain = ?",
            (parent[0] is None, *parent, epoch.row),
        )

    def around(self, epoch: Epoch, seq: int) -> Around:
        """Return what is known at a place of a chain and next to it.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        at, expected = None, self._declared(epoch, seq)
        before = self._declared(epoch, seq - 1)
        rows = self._db.execute(
            "SELECT seq, header_hash, signature, header FROM batches"
            " WHERE chain = ? AND seq BETWEEN ? AND ?",
            (epoch.row, seq - 1, seq + 1),
        )
        for found, header_hash, signature, header in rows:
            if found == seq - 1:
                before = header_hash
            elif found == seq:
                at = Signed(header_hash, signature)
            else:
                expected = decode_header(header).previous
        return Around(at=at, before=before, expected=expected)

    def _declared(self, epoch: Epoch, seq: int) -> bytes | None:
        """Return the hash that the agent's own word gives the header at a place."""
        end = epoch.chain.end
        if end is not None and end.seq == seq:
            return end.hash
        row = self._db.execute(
            "SELECT last_hash FROM lost WHERE chain = ? AND last_seq = ? LIMIT 1",
            (epoch.row, seq),
        ).fetchone()
        return row[0] if row else None

    def lose(self, epoch: Epoch, dropped: DroppedRange, position: int) -> None:
        """Note a range that a batch at ``position`` declares lost.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        self._db.execute(
            "INSERT OR IGNORE INTO lost VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                epoch.row,
                dropped.first_seq,
                dropped.last_seq,
                dropped.last_header_hash,
                dropped.reason.value,
                dropped.batches,
                dropped.records,
                position,
            ),
        )
        epoch.chain = declare(epoch.chain, to_lost(dropped))

    def parent(self, agent: bytes, opens: EpochStart | None) -> tuple[Epoch, Parent] | None:
        """Return the chain that an epoch names as its parent, where it is known.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        if opens is None or opens.parent_epoch is None or opens.parent_seq is None:
            return None
        found = self.find(agent, opens.parent_epoch)
        if found is None:
            return None
        seq = opens.parent_seq
        around = self.around(found, seq)
        at = around.at.hash if around.at else around.expected
        if at is None and seq == found.chain.head.seq:
            at = found.chain.head.hash
        return found, Parent(chain=found.chain, at=at)

    def save(self, epoch: Epoch, now: int) -> None:
        """Write a chain that changed.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        chain = epoch.chain
        end = chain.end
        top = max(chain.top.seq, end.seq if end else 0)
        epoch.hole_since = None if top == chain.head.seq else epoch.hole_since or now
        self._db.execute(
            "UPDATE chains SET head_seq = ?, head_hash = ?, kept_seq = ?, kept_hash = ?,"
            " top_seq = ?, hole_since = ?, end_seq = ?, end_hash = ? WHERE chain = ?",
            (
                chain.head.seq,
                chain.head.hash,
                chain.kept.seq,
                chain.kept.hash,
                top,
                epoch.hole_since,
                end.seq if end else None,
                end.hash if end else None,
                epoch.row,
            ),
        )


def load_epoch(db: sqlite3.Connection, agent: bytes, epoch: bytes) -> Epoch | None:
    """Return a chain as its file has it.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    row = db.execute(
        f"SELECT {_COLUMNS}, hole_since FROM chains WHERE agent = ? AND epoch = ?",  # noqa: S608  (constant)
        (agent, epoch),
    ).fetchone()
    return _epoch(db, row) if row else None


def newest_epochs(db: sqlite3.Connection, agent: bytes, count_max: int) -> list[Epoch]:
    """Return an agent's newest chains, newest first.

    Raises:
        sqlite3.Error: they cannot be read.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS}, hole_since FROM chains WHERE agent = ?"  # noqa: S608  (constant)
        " ORDER BY chain DESC LIMIT ?",
        (agent, count_max),
    ).fetchall()
    return [_epoch(db, row) for row in rows]


def _epoch(db: sqlite3.Connection, row: Any) -> Epoch:  # noqa: ANN401  (columns, typed by schema)
    number, agent, epoch, head_seq, head_hash, kept_seq, kept_hash, end_seq, end_hash, since = row
    ahead = db.execute(
        "SELECT seq, header_hash FROM batches WHERE chain = ? AND seq > ? ORDER BY seq",
        (number, head_seq),
    )
    lost = db.execute(
        "SELECT first_seq, last_seq, last_hash FROM lost WHERE chain = ? AND last_seq > ?"
        " ORDER BY first_seq, last_seq",
        (number, head_seq),
    )
    chain = Chain(
        head=Place(head_seq, head_hash),
        kept=Place(kept_seq, kept_hash),
        ahead=tuple(Place(*one) for one in ahead),
        lost=tuple(Lost(*one) for one in lost),
        end=Place(end_seq, end_hash) if end_seq is not None else None,
    )
    found = Epoch(number, agent, epoch, chain)
    found.hole_since = since
    return found
