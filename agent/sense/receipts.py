"""What the collector has vouched for, believed only when its signature verifies."""

from collections.abc import Mapping, Sequence

from agent.errors import DoorError
from proto import codec, envelope, merkle, tlog
from proto.envelope import PayloadType, Verifier
from proto.errors import WireError
from proto.model import CheckpointRef, Durability, Receipt, ReceiptRef
from proto.note import NoteKey


class ReceiptBook:
    """Verifies receipts and checkpoints; remembers the newest of each.

    Args:
        tenant: ours; a receipt for another tenant is refused.
        agent: ours.
        receipt_keys: the collector's receipt keys by key id, from trust.json.
        log_keys: the log's checkpoint keys, from trust.json.
    """

    def __init__(
        self,
        tenant: bytes,
        agent: bytes,
        receipt_keys: Mapping[bytes, Verifier],
        log_keys: Sequence[NoteKey],
    ) -> None:
        self._tenant = tenant
        self._agent = agent
        self._receipt_keys = receipt_keys
        self._log_keys = log_keys
        self.last: ReceiptRef | None = None
        self.checkpoint: CheckpointRef | None = None

    def take(self, payload: bytes, signature: bytes, key_id: bytes) -> Receipt:
        """Verify a receipt.

        Raises:
            DoorError: unknown key, wrong signature, another agent's, or not a durable one.
        """
        key = self._receipt_keys.get(key_id)
        if key is None:
            raise DoorError("a receipt by a key that is not in trust.json")
        try:
            envelope.verify(PayloadType.RECEIPT, payload, signature, key)
            receipt = codec.decode_receipt(payload)
        except WireError as error:
            raise DoorError(f"a receipt that does not verify: {error.message}") from error
        if (receipt.tenant, receipt.agent) != (self._tenant, self._agent):
            raise DoorError("a receipt for another agent")
        if receipt.durability is not Durability.DURABLE:
            raise DoorError("a receipt that vouches for nothing durable")
        self.last = ReceiptRef(receipt.epoch, receipt.seq, receipt.ledger_generation)
        return receipt

    def take_checkpoint(self, note: bytes, proof: Sequence[bytes]) -> None:
        """Verify a checkpoint and that it extends the one known.

        Raises:
            DoorError: not signed by the log, smaller, or of another history.
        """
        try:
            found = tlog.open_checkpoint(note, self._log_keys)
            known = self.checkpoint
            if known is not None and known.size:
                merkle.verify_consistency(
                    merkle.TreeHead(known.size, known.root), found.head, proof
                )
        except WireError as error:
            raise DoorError(f"a checkpoint that does not verify: {error.message}") from error
        self.checkpoint = CheckpointRef(found.origin, found.head.size, found.head.root)
