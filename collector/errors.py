"""What can go wrong in the collector.

VedetteError                  (runtime.errors)
└── CollectorError
    ├── LedgerError
    │   ├── LedgerUnavailable  host, retryable; the disk is full or failing, or the file is held
    │   ├── LedgerBusy         ours, retryable; more waits to be written than the limits allow
    │   ├── LedgerCorrupt      host; the file is damaged, or holds what it never should
    │   └── LedgerForeign      operator, exit 4; another tenant's file, or a newer version's
    ├── TooFarAhead            peer, retryable; a batch lies too far beyond a hole
    ├── AdmitRefused           peer; a stored body is not what its signed header says
    ├── NotLogged              peer, retryable; no such entry in the log (yet)
    ├── NoSuchService          peer; nothing of that name is served here
    ├── AccessDenied           peer, exit 6; the enforcement point says no; ``denial`` says why
    ├── CannotListen           operator; a listener's address or certificate cannot be used
    └── IssuerUnavailable      ours, retryable, exit 5; the issuer does not answer
"""

import enum
from pathlib import Path
from typing import ClassVar

from proto.errors import RejectReason
from runtime.errors import Fault, VedetteError


class CollectorError(VedetteError):
    """Anything the collector raises on purpose."""


class LedgerError(CollectorError):
    """The ledger could not do what it was asked; nothing of it was acknowledged."""


class LedgerUnavailable(LedgerError):
    """The disk is full or failing, or another process holds the file; nothing was written."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.HOST


class LedgerBusy(LedgerError):
    """More is waiting to be written than the limits allow."""

    retryable: ClassVar[bool] = True


class LedgerCorrupt(LedgerError):
    """The file is damaged, or holds what it never should.

    Args:
        message: what happened, in one lower-case clause.
        hint: what the reader should do next.
        path: the file; None where it is not known which.
    """

    fault: ClassVar[Fault] = Fault.HOST

    def __init__(self, message: str, *, hint: str = "", path: Path | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class LedgerForeign(LedgerError):
    """The file belongs to another tenant, or a newer version wrote it."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 4


class TooFarAhead(CollectorError):
    """So much of the epoch is missing that this batch has to wait for it."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.PEER


class AdmitRefused(CollectorError):
    """A body that is kept is not what its signed header says.

    Args:
        reason: the check that failed.
        message: what happened, in one lower-case clause.
    """

    fault: ClassVar[Fault] = Fault.PEER

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotLogged(CollectorError):
    """The log has no such entry, or has not come to it yet."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.PEER


class NoSuchService(CollectorError):
    """Nothing of that name is served here."""

    fault: ClassVar[Fault] = Fault.PEER


class Denial(enum.Enum):
    """Why the enforcement point said no; the values are stable names, used as labels."""

    TRANSPORT = "transport"
    IDENTITY = "identity"
    UNKNOWN_AGENT = "unknown_agent"
    SERIAL = "serial"
    REVOKED = "revoked"
    EXPIRED = "expired"
    QUOTA = "quota"
    STALE_REGISTRY = "stale_registry"


class AccessDenied(CollectorError):
    """A call may not go on.

    Args:
        denial: the rule it breaks.
        message: what happened, in one lower-case clause; may be shown to the peer.
        hint: what the peer should do next.
    """

    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6

    def __init__(self, denial: Denial, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.denial = denial


class IssuerUnavailable(CollectorError):
    """The issuer does not answer; nothing was issued."""

    retryable: ClassVar[bool] = True
    exit_code: ClassVar[int] = 5


class CannotListen(CollectorError):
    """A listener cannot be opened: the address is taken or not ours, or the certificate is bad."""

    fault: ClassVar[Fault] = Fault.OPERATOR
