"""Why the issuer says no.

    CollectorError              (collector.errors)
    ├── IssuerUnavailable       (collector.errors) the issuer does not answer
    └── IssuerError
        ├── IssuerRefused       peer, exit 6; ``reason`` says which rule the request breaks
        ├── IssuerBusy          ours, retryable; a limit of requests is reached
        └── IssuerUnready       operator, retryable; authority, database or files are not usable

All of them cross the issuer's socket and arrive as what they were.
"""

import enum
from typing import ClassVar

from collector.errors import CollectorError
from runtime.errors import Fault


class Refusal(enum.Enum):
    """Which rule a request breaks; the values are stable names, used as labels.

    A token that is unknown, used, expired or another tenant's is one refusal: who guesses learns
    nothing.
    """

    MALFORMED = "malformed"
    CALLER = "caller"
    REQUEST = "request"
    STATEMENT = "statement"
    NONCE = "nonce"
    TOKEN = "token"  # noqa: S105 - the name of a rule
    TENANT = "tenant"
    AGENT = "agent"
    SERIAL = "serial"
    CLONE = "clone"
    LOCKED = "locked"
    REVOKED = "revoked"
    RECOVERIES = "recoveries"
    AUTHORITY = "authority"
    TRUST = "trust"
    LIMIT = "limit"


class IssuerError(CollectorError):
    """Anything the issuer raises."""


class IssuerRefused(IssuerError):
    """The request breaks a rule; the same request again is refused again.

    Args:
        reason: the rule.
        message: what happened, in one lower-case clause; may be shown to the peer.
        hint: what the reader should do next; empty when nothing can be done.
    """

    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6

    def __init__(self, reason: Refusal, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class IssuerBusy(IssuerError):
    """More was asked than the limits allow; nothing was done.

    Args:
        message: which limit, in one lower-case clause.
        retry_after_s: when to ask again.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class IssuerUnready(IssuerError):
    """The issuer's own material is missing, damaged, expired or cannot be written."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.OPERATOR
