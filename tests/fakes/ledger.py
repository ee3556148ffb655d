"""A ledger in memory: the laws of the real one, but nothing outlives the process."""

from collections.abc import Callable, Sequence
from functools import reduce

from msgspec import structs

from certs.identity import AgentId, TenantId
from collector.errors import LedgerUnavailable, TooFarAhead
from collector.ledger.chain import (
    Around,
    Chain,
    Lost,
    Parent,
    Place,
    Signed,
    Verdict,
    declare,
    judge_opening,
    judge_order,
    judge_place,
    place,
)
from collector.ledger.ports import Head, Mark, Outcome, OwnPlace, Seal, SealedBatch, Stored
from proto.model import DroppedRange, EpochReason, EpochStart, SeqHash

Key = tuple[bytes, bytes]
_NONE = EpochStart(reason=EpochReason.FIRST)


class _Tenant:
    def __init__(self, generation: bytes) -> None:
        self.generation = generation
        self.chains: dict[Key, Chain] = {}
        self.batches: dict[tuple[Key, int], SealedBatch] = {}
        self.lost: list[tuple[Key, Lost]] = []
        self.log: list[Stored] = []
        self.held: list[SealedBatch] = []
        self.marks: dict[str, Mark] = {}

    def around(self, key: Key, seq: int) -> Around:
        at = self.batches.get((key, seq))
        after = self.batches.get((key, seq + 1))
        expected = self.word(key, seq)
        return Around(
            at=Signed(at.header_hash, at.signature) if at else None,
            before=self.known(key, seq - 1),
            expected=after.header.previous if after else expected,
        )

    def word(self, key: Key, seq: int) -> bytes | None:
        end = self.chains[key].end
        if end is not None and end.seq == seq:
            return end.hash
        return next((o.hash for k, o in self.lost if k == key and o.last == seq), None)

    def known(self, key: Key, seq: int) -> bytes | None:
        batch = self.batches.get((key, seq))
        return batch.header_hash if batch else self.word(key, seq)


class MemoryLedger:
    """Implements `Ledger` and `OwnLedger`.

    Args:
        random: n unpredictable bytes.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._tenants: dict[TenantId, _Tenant] = {}
        self.fails = False

    def append(self, tenant: TenantId, batches: Sequence[SealedBatch]) -> Sequence[Outcome]:
        if self.fails:
            raise LedgerUnavailable("the disk is full")
        store = self._tenant(tenant)
        taken = [(self._take(store, batch), batch) for batch in batches]
        return [
            Outcome(verdict, _head(key, store.chains[key]), beside)
            for (verdict, beside), batch in taken
            for key in [(batch.header.agent, batch.header.epoch)]
        ]

    def append_own(
        self, tenant: TenantId, agent: AgentId, mark: Mark | None, seal: Seal
    ) -> Outcome | None:
        store = self._tenant(tenant)
        if mark is not None and store.marks.get(mark.name, Mark(mark.name)).pending >= mark.pending:
            return None
        own = [key for key in store.chains if key[0] == agent.bytes]
        head = store.chains[own[-1]].head if own else Place()
        epoch = own[-1][1] if own else None
        outcomes = self.append(tenant, [seal(OwnPlace(epoch, head.seq + 1, head.hash))])
        if mark is not None:
            store.marks[mark.name] = mark
        return outcomes[0]

    def mark(self, tenant: TenantId, name: str) -> Mark:
        return self._tenant(tenant).marks.get(name, Mark(name))

    def heads(self, tenant: TenantId, agent: AgentId, count_max: int) -> Sequence[Head]:
        store = self._tenant(tenant)
        own = [key for key in store.chains if key[0] == agent.bytes]
        return [_head(key, store.chains[key]) for key in own[::-1][:count_max]]

    def generation(self, tenant: TenantId) -> bytes:
        return self._tenant(tenant).generation

    def read(
        self, tenant: TenantId, after: int, batches_max: int, bytes_max: int
    ) -> Sequence[Stored]:
        found: list[Stored] = []
        for one in self._tenant(tenant).log[after : after + batches_max]:
            if found and sum(len(kept.body) for kept in found) + len(one.body) > bytes_max:
                break
            found.append(one)
        return found

    def _tenant(self, tenant: TenantId) -> _Tenant:
        if tenant not in self._tenants:
            self._tenants[tenant] = _Tenant(self._random(16))
        return self._tenants[tenant]

    def _take(self, store: _Tenant, batch: SealedBatch) -> tuple[Verdict | None, SeqHash | None]:
        header = batch.header
        key = (header.agent, header.epoch)
        if key not in store.chains:
            self._begin(store, key)
        sealed = Signed(batch.header_hash, batch.signature)
        verdict = judge_place(header, sealed, store.around(key, header.seq))
        if verdict is Verdict.FORK:
            if sealed not in [Signed(one.header_hash, one.signature) for one in store.held]:
                store.held.append(batch)
            return verdict, SeqHash(seq=header.seq, header_hash=batch.header_hash)
        if verdict is Verdict.DUPLICATE:
            return verdict, None
        own = [_lost(one) for one in header.dropped if one.epoch == header.epoch]
        try:
            verdict = judge_order(reduce(declare, own, store.chains[key]), header.seq)
        except TooFarAhead:
            return None, None
        seen = [one for one in header.dropped if (header.agent, one.epoch) in store.chains]
        for one in seen:
            self._lose(store, header.agent, one)
        if verdict is Verdict.ACCEPT and header.seq == 1:
            verdict = self._open(store, batch)
        self._keep(store, batch, verdict)
        for one in header.dropped:
            if one not in seen:
                self._lose(store, header.agent, one)
        return verdict, None

    def _open(self, store: _Tenant, batch: SealedBatch) -> Verdict:
        opens, agent = batch.header.opens, batch.header.agent
        is_only_root = not any(
            chain[0] == agent and seq == 1 and not (one.header.opens or _NONE).parent_epoch
            for (chain, seq), one in store.batches.items()
        )
        parent = None
        key = (agent, (opens.parent_epoch if opens else None) or b"")
        if opens and opens.parent_seq and key in store.chains:
            parent = Parent(store.chains[key], store.known(key, opens.parent_seq))
        verdict = judge_opening(opens, parent, is_only_root=is_only_root)
        if opens and opens.parent_seq and parent and verdict in {Verdict.ACCEPT, Verdict.HOLE}:
            end = Place(opens.parent_seq, opens.parent_hash or b"")
            store.chains[key] = structs.replace(store.chains[key], end=end)
        return verdict

    def _begin(self, store: _Tenant, key: Key) -> None:
        children = [
            one.header.opens
            for (chain, seq), one in store.batches.items()
            if seq == 1 and chain[0] == key[0] and one.header.opens is not None
        ]
        ends = [
            Place(opens.parent_seq, opens.parent_hash)
            for opens in children
            if opens.parent_epoch == key[1] and opens.parent_seq and opens.parent_hash
        ]
        store.chains[key] = Chain(end=ends[0] if ends else None)

    def _lose(self, store: _Tenant, agent: bytes, dropped: DroppedRange) -> None:
        key = (agent, dropped.epoch)
        if key not in store.chains:
            self._begin(store, key)
        around = store.around(key, dropped.last_seq)
        known = around.at.hash if around.at else around.expected
        if known in {None, dropped.last_header_hash}:
            store.lost.append((key, _lost(dropped)))
            store.chains[key] = declare(store.chains[key], _lost(dropped))

    def _keep(self, store: _Tenant, batch: SealedBatch, verdict: Verdict) -> None:
        header = batch.header
        key = (header.agent, header.epoch)
        store.batches[key, header.seq] = batch
        store.chains[key] = place(store.chains[key], Place(header.seq, batch.header_hash))
        stored = Stored(
            position=len(store.log) + 1,
            received=batch.received,
            verdict=verdict,
            header_hash=batch.header_hash,
            header=batch.header_bytes,
            signature=batch.signature,
            body=batch.body,
        )
        store.log.append(stored)


def _lost(dropped: DroppedRange) -> Lost:
    return Lost(dropped.first_seq, dropped.last_seq, dropped.last_header_hash)


def _head(key: Key, chain: Chain) -> Head:
    return Head(
        agent=key[0],
        epoch=key[1],
        seq=chain.kept.seq,
        header_hash=chain.kept.hash,
        ahead=tuple(SeqHash(seq=one.seq, header_hash=one.hash) for one in chain.ahead),
        wanted=chain.head.seq + 1,
    )
