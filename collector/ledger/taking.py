"""One transaction's worth of batches on their way into a tenant's file.

The common case, the next batch of a chain without holes, costs no query: its row is gathered and
inserted together with others. Everything else looks at what the file holds, after the gathered
rows have been written to it.
"""

import sqlite3
from collections.abc import Iterable
from functools import reduce

from msgspec import Struct, structs

from collector.errors import TooFarAhead
from collector.ledger.chain import (
    Around,
    Place,
    Signed,
    Verdict,
    declare,
    judge_opening,
    judge_order,
    judge_place,
    place,
    quarantines,
)
from collector.ledger.flags import Flag, FlagKind, insert_flag
from collector.ledger.history import Epoch, History, to_lost
from collector.ledger.ports import SealedBatch
from proto.model import DroppedRange, SeqHash

VERDICT_NUMBERS = {
    Verdict.ACCEPT: 1,
    Verdict.HOLE: 2,
    Verdict.ROLLBACK: 3,
    Verdict.STATE_LOSS: 4,
}
VERDICTS = {number: verdict for verdict, number in VERDICT_NUMBERS.items()}

_FLAGS = {Verdict.ROLLBACK: FlagKind.ROLLBACK, Verdict.STATE_LOSS: FlagKind.STATE_LOSS}
_INSERT = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_HOLD = (
    "INSERT OR IGNORE INTO held (chain, seq, received, header_hash, signature, header, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)

_Row = tuple[int, int, int, int, int, bytes, bytes, bytes, bytes]


class Taken(Struct, frozen=True):
    """What became of one batch, before the commit (see `collector.ledger.ports.Outcome`)."""

    verdict: Verdict | None
    epoch: Epoch
    beside: SeqHash | None = None


class Taking:
    """Judges batches and puts them where they belong, inside a transaction of the caller's.

    Args:
        db: the tenant's file.
        history: its chains.
        agents: whose keys the file is known to hold; added to.

    Raises:
        sqlite3.Error: the file cannot be read.
    """

    def __init__(self, db: sqlite3.Connection, history: History, agents: set[bytes]) -> None:
        self._db = db
        self._history = history
        self._agents = agents
        self._rows: list[_Row] = []
        self._touched: dict[int, Epoch] = {}
        (last,) = db.execute("SELECT max(position) FROM batches").fetchone()
        self._position: int = last or 0

    def take(self, batch: SealedBatch) -> Taken:
        """Judge one batch, and keep it on its chain, beside it, or not again.

        Raises:
            sqlite3.Error: the file cannot be read or written; the caller rolls back.
        """
        header = batch.header
        epoch = self._history.find(header.agent, header.epoch)
        if epoch is None or header.dropped or not epoch.chain.is_next(header.seq):
            return self._take_carefully(epoch, batch)
        sealed = Signed(batch.header_hash, batch.signature)
        around = Around(before=epoch.chain.head.hash)
        if header.seq == 1 or judge_place(header, sealed, around) is not None:
            return self._take_carefully(epoch, batch)
        self._keep(epoch, batch, Verdict.ACCEPT)
        return Taken(Verdict.ACCEPT, epoch)

    def finish(self, now: int) -> None:
        """Write what was gathered.

        Raises:
            sqlite3.Error: it cannot be written; the caller rolls back.
        """
        self._flush()
        for epoch in self._touched.values():
            self._history.save(epoch, now)

    def _take_carefully(self, epoch: Epoch | None, batch: SealedBatch) -> Taken:
        """Judge with everything that the file holds."""
        header = batch.header
        self._flush()
        self._know(batch)
        if epoch is None:
            epoch = self._history.create(header.agent, header.epoch)
        sealed = Signed(batch.header_hash, batch.signature)
        verdict = judge_place(header, sealed, self._history.around(epoch, header.seq))
        if verdict is Verdict.DUPLICATE:
            return Taken(verdict, epoch)
        if verdict is Verdict.FORK:
            return Taken(verdict, epoch, self._hold(epoch, batch))
        own = [to_lost(one) for one in header.dropped if one.epoch == header.epoch]
        try:
            verdict = judge_order(reduce(declare, own, epoch.chain), header.seq)
        except TooFarAhead:
            return Taken(None, epoch)
        # A declaration counts for the chain it is of; an epoch that nobody has seen a batch of
        # comes last, so that no opening can vouch for its own parent.
        known = [self._history.find(header.agent, one.epoch) for one in header.dropped]
        self._lose(batch, (one for one, of in zip(header.dropped, known, strict=True) if of))
        if header.seq == 1 and verdict is Verdict.ACCEPT:
            verdict = self._open(epoch, batch)
        self._keep(epoch, batch, verdict)
        self._lose(batch, (one for one, of in zip(header.dropped, known, strict=True) if not of))
        return Taken(verdict, epoch)

    def _open(self, epoch: Epoch, batch: SealedBatch) -> Verdict:
        """Judge an epoch's first batch by the epoch it follows, and end that one."""
        opens = batch.header.opens
        found = self._history.parent(batch.header.agent, opens)
        is_only_root = not self._history.has_other_root(epoch)
        verdict = judge_opening(opens, found[1] if found else None, is_only_root=is_only_root)
        self._history.open(epoch, opens)
        if found and opens and opens.parent_seq and verdict in {Verdict.ACCEPT, Verdict.HOLE}:
            parent, end = found[0], Place(opens.parent_seq, opens.parent_hash or b"")
            parent.chain = structs.replace(parent.chain, end=end)
            self._touched[parent.row] = parent
        return verdict

    def _lose(self, batch: SealedBatch, ranges: Iterable[DroppedRange]) -> None:
        """Note what a batch declares lost, unless what is kept says otherwise."""
        agent = batch.header.agent
        for dropped in ranges:
            epoch = self._history.find(agent, dropped.epoch)
            if epoch is None:
                epoch = self._history.create(agent, dropped.epoch)
            around = self._history.around(epoch, dropped.last_seq)
            known = around.at.hash if around.at else around.expected
            if known not in {None, dropped.last_header_hash}:
                self._flag(batch, FlagKind.FORK, quarantined=True)
                continue
            self._history.lose(epoch, dropped, self._position + 1)
            self._touched[epoch.row] = epoch

    def _keep(self, epoch: Epoch, batch: SealedBatch, verdict: Verdict) -> None:
        header = batch.header
        if verdict in _FLAGS:
            self._flag(batch, _FLAGS[verdict], quarantined=quarantines(verdict, header.opens))
        self._position += 1
        self._rows.append(
            (
                self._position,
                epoch.row,
                header.seq,
                batch.received,
                VERDICT_NUMBERS[verdict],
                batch.header_hash,
                batch.signature,
                batch.header_bytes,
                batch.body,
            )
        )
        epoch.chain = place(epoch.chain, Place(header.seq, batch.header_hash))
        self._touched[epoch.row] = epoch

    def _hold(self, epoch: Epoch, batch: SealedBatch) -> SeqHash:
        """Keep the evidence of a fork beside its chain."""
        seq = batch.header.seq
        parts = (batch.header_hash, batch.signature, batch.header_bytes, batch.body)
        self._db.execute(_HOLD, (epoch.row, seq, batch.received, *parts))
        self._flag(batch, FlagKind.FORK, quarantined=True)
        return SeqHash(seq=seq, header_hash=batch.header_hash)

    def _flag(self, batch: SealedBatch, kind: FlagKind, *, quarantined: bool) -> None:
        header = batch.header
        insert_flag(
            self._db,
            Flag(
                position=self._position + 1,
                at=batch.received,
                agent=header.agent,
                epoch=header.epoch,
                seq=header.seq,
                kind=kind,
                quarantines=quarantined,
            ),
        )

    def _know(self, batch: SealedBatch) -> None:
        """Keep the key that an agent's batches are verified with."""
        agent = batch.header.agent
        if agent not in self._agents:
            self._db.execute(
                "INSERT OR IGNORE INTO agents (agent, public_key) VALUES (?, ?)",
                (agent, batch.public_key),
            )
            self._agents.add(agent)

    def _flush(self) -> None:
        if self._rows:
            self._db.executemany(_INSERT, self._rows)
            self._rows.clear()
