"""What one stream still has to be told, in the order of what it answers.

What waits is bounded, however slowly the agent reads: at most one head for each epoch, because a
newer receipt says all that an older one did, and refusals for no more than a window of batches. A
refusal waits until everything that was read before it has been answered.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from certs.identity import TenantId
from collector.errors import LedgerBusy, LedgerError
from collector.gateway.messages import hint_reply, receipt_reply, refused_reply, resume_reply
from collector.ledger.chain import Verdict
from collector.ledger.ports import Head, Outcome
from collector.ledger.receipts import ReceiptSigner
from proto.model import HintKind, RefusedReason, SeqHash

OTHERS_WAITING_MAX: Final = 64


class Replies:
    """The replies of one stream.

    Args:
        tenant: whose stream.
        signer: signs receipts.
        retry_after_ns: when a batch that was refused for now may come again.
    """

    def __init__(self, tenant: TenantId, signer: ReceiptSigner, retry_after_ns: int) -> None:
        self._tenant = tenant
        self._signer = signer
        self._retry_after_ns = retry_after_ns
        self._read = 0
        self._answered = 0
        self._heads: dict[bytes, Head] = {}
        self._evidence: dict[bytes, tuple[Head, list[SeqHash]]] = {}
        self._refusals: deque[tuple[int, bytes]] = deque()
        self._others: deque[bytes] = deque()
        self.receipts = 0

    @property
    def in_flight(self) -> int:
        """How many batches were handed over and not answered."""
        return self._read - self._answered

    def greet(self, heads: Sequence[Head]) -> None:
        """Say how far the agent's newest epochs are kept, so that it need not guess.

        Args:
            heads: newest first; none for an agent nobody has heard of.
        """
        if not heads:
            self._others.append(hint_reply(HintKind.REPORT_HEAD))
            return
        for head in reversed(heads):
            if head.seq or head.ahead:
                self._heads[head.epoch] = head
        self._others.append(resume_reply(heads[0].epoch, heads[0].wanted))

    def handed_over(self) -> None:
        """Note that a batch is on its way to the ledger."""
        self._read += 1

    def answer(self, outcomes: Sequence[tuple[Outcome, bytes]]) -> None:
        """Note what became of batches, after their commit.

        Args:
            outcomes: each with its header hash, in the order they were handed over.
        """
        for outcome, header_hash in outcomes:
            head = outcome.head
            self._answered += 1
            if outcome.verdict is None:
                self.refuse_for_now(header_hash, RefusedReason.OVERLOADED)
            elif outcome.verdict is Verdict.FORK and outcome.beside is not None:
                self._evidence.setdefault(head.epoch, (head, []))[1].append(outcome.beside)
            else:
                self._heads[head.epoch] = head

    def fail(self, header_hashes: Sequence[bytes], error: LedgerError) -> None:
        """Note that a commit failed: nothing of it was kept, and all of it may come again."""
        reason = RefusedReason.STORAGE
        if isinstance(error, LedgerBusy):
            reason = RefusedReason.OVERLOADED
        for header_hash in header_hashes:
            self._answered += 1
            self.refuse_for_now(header_hash, reason)

    def refuse(self, reason: RefusedReason, header_hash: bytes) -> None:
        """Note that a batch can never be kept."""
        self._refusals.append((self._read, refused_reply(reason, header_hash, None)))

    def refuse_for_now(self, header_hash: bytes, reason: RefusedReason) -> None:
        """Note that a batch was not kept and may come again."""
        reply = refused_reply(reason, header_hash, self._retry_after_ns)
        self._refusals.append((self._answered, reply))

    def say(self, reply: bytes) -> None:
        """Note a reply that answers nothing; dropped where too many wait."""
        if len(self._others) < OTHERS_WAITING_MAX:
            self._others.append(reply)

    def take(self) -> list[bytes]:
        """Return what may be sent now, receipts first, and forget it."""
        heads, self._heads = self._heads, {}
        evidence, self._evidence = self._evidence, {}
        others, self._others = self._others, deque()
        signed = [self._signer.receipt(self._tenant, head) for head in heads.values()]
        signed += [
            self._signer.evidence(self._tenant, head, beside) for head, beside in evidence.values()
        ]
        self.receipts += len(signed)
        found = [receipt_reply(receipt) for receipt in signed]
        while self._refusals and self._refusals[0][0] <= self._answered:
            found.append(self._refusals.popleft()[1])
        found.extend(others)
        return found
