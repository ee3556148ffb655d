"""What can be wrong with bytes that came from somewhere else.

    VedetteError                 (runtime.errors)
    └── WireError                peer; never retryable: the same bytes stay wrong
        ├── Malformed            the bytes do not decode to what they claim to be
        ├── TooLarge             a named limit was passed; nothing further was read
        ├── EnvelopeRejected     decoded, but cannot be trusted; ``reason`` says why
        ├── ProofRejected        a Merkle proof does not lead to the root it names
        └── CheckpointRejected   a log's signed tree head is not one of ours, or not signed by it

Each carries ``reason``, a bounded enum: the same word is the metric label, the detail of the gRPC
status and the column in the audit. The message may be shown to an operator and never holds bytes
of the peer unescaped.
"""

import enum
from typing import ClassVar

from runtime.errors import Fault, VedetteError


class RejectReason(enum.Enum):
    """Why something was not accepted; the values are stable names, used as labels."""

    IDENTITY = "identity"
    SIZE = "size"
    SIGNATURE = "signature"
    DIGEST = "digest"
    VERSION = "version"
    MALFORMED = "malformed"
    TYPE = "type"
    PROOF = "proof"
    CHECKPOINT = "checkpoint"


class WireError(VedetteError):
    """Bytes from outside are not what they should be; sending them again cannot help."""

    fault: ClassVar[Fault] = Fault.PEER
    reason: RejectReason = RejectReason.MALFORMED


class Malformed(WireError):
    """The bytes do not decode, or decode to a value that the schema does not allow."""

    reason = RejectReason.MALFORMED


class TooLarge(WireError):
    """The bytes, or something counted in them, are over a named limit."""

    reason = RejectReason.SIZE


class EnvelopeRejected(WireError):
    """The envelope cannot be trusted; the sender must not retry it.

    Args:
        reason: the check that failed.
        message: what happened, in one lower-case clause.
        hint: what the reader should do next; empty when nothing can be done.
    """

    def __init__(self, reason: RejectReason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ProofRejected(WireError):
    """An inclusion or consistency proof does not hold."""

    reason = RejectReason.PROOF


class CheckpointRejected(WireError):
    """A checkpoint is not signed by a key we trust, or speaks for another log."""

    reason = RejectReason.CHECKPOINT
