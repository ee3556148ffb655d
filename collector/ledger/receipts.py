"""Receipts: the collector's signed word that it keeps what it names.

A receipt is made only from what a commit returned. It speaks for one epoch: everything up to its
``seq``, and the batches ``ahead`` of a hole. A fork's evidence has a receipt of its own, which
covers nothing but the batches it names: the chain that was kept is not theirs.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from certs.identity import TenantId
from certs.signatures import SigningKey
from collector.ledger.chain import AHEAD_BATCHES_MAX
from collector.ledger.ports import Head
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.model import Durability, Receipt, SeqHash
from runtime.clock import Clock

RECEIPT_VERSION = 1


class SignedReceipt(Struct, frozen=True):
    """A receipt's exact bytes and their signature."""

    payload: bytes
    signature: bytes
    key_id: bytes


class LedgerState(Struct, frozen=True):
    """What a receipt says of the tenant's ledger besides the epoch.

    Args:
        generation: the ledger's life, 16 bytes.
        log_size: entries in the tenant's transparency log.
    """

    generation: bytes
    log_size: int


class ReceiptSigner:
    """Signs receipts.

    Args:
        key: the collector's receipt key.
        clock: stamps them.
        state: how a tenant's ledger stands.
    """

    def __init__(
        self, key: SigningKey, clock: Clock, state: Callable[[TenantId], LedgerState]
    ) -> None:
        self._key = key
        self._key_id = key.public.key_id
        self._clock = clock
        self._state = state

    def receipt(self, tenant: TenantId, head: Head) -> SignedReceipt:
        """Return the receipt of an epoch, from a head that a commit returned."""
        return self._sign(tenant, head)

    def evidence(self, tenant: TenantId, head: Head, beside: Sequence[SeqHash]) -> SignedReceipt:
        """Return the receipt of batches kept beside their epoch."""
        covered = Head(
            agent=head.agent,
            epoch=head.epoch,
            seq=0,
            header_hash=b"",
            ahead=tuple(beside[:AHEAD_BATCHES_MAX]),
            wanted=0,
        )
        return self._sign(tenant, covered)

    def _sign(self, tenant: TenantId, head: Head) -> SignedReceipt:
        state = self._state(tenant)
        payload = codec.encode_receipt(
            Receipt(
                version=RECEIPT_VERSION,
                tenant=tenant.bytes,
                agent=head.agent,
                epoch=head.epoch,
                seq=head.seq,
                header_hash=head.header_hash,
                ledger_generation=state.generation,
                log_size=state.log_size,
                durability=Durability.DURABLE,
                at=self._clock.wall_ns(),
                ahead=head.ahead,
            )
        )
        signature = envelope.sign(PayloadType.RECEIPT, payload, self._key)
        return SignedReceipt(payload, signature, self._key_id)
