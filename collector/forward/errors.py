"""What can go wrong between the ledger and a SIEM, by what to do about it.

CollectorError                (collector.errors)
└── ForwardError
    ├── SinkUnavailable       peer, retryable; try again later, for as long as it takes
    ├── SinkMisconfigured     operator; park the destination until somebody acts
    ├── SinkRejected          ours; this data will never be taken: find the event, set it aside
    ├── NoSuchDestination     operator, exit 2; the name stands in no settings
    └── NoSuchLetter          operator, exit 2; no dead letter has this id
"""

from typing import ClassVar

from collector.errors import CollectorError
from runtime.errors import Fault

RETRY_AFTER_S_MAX = 3600.0


class ForwardError(CollectorError):
    """Anything that forwarding raises on purpose."""


class SinkUnavailable(ForwardError):
    """The receiver cannot take anything now; nothing is known to have arrived.

    Args:
        message: what happened, in one lower-case clause.
        retry_after_s: how long the receiver asked us to wait; at most an hour is honoured.
    """

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.PEER

    def __init__(self, message: str, *, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.retry_after_s = min(max(retry_after_s, 0.0), RETRY_AFTER_S_MAX)


class SinkMisconfigured(ForwardError):
    """The receiver, or a file we need for it, refuses us as we are set up: nothing gets through."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class SinkRejected(ForwardError):
    """The receiver refuses this data, and would refuse it again.

    Args:
        message: the receiver's reason.
        index: the place in the payload of the first bad event, where the receiver says so. A hint:
            an event is set aside only after it was refused alone.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class NoSuchDestination(ForwardError):
    """No destination of this name stands in the settings."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 2


class NoSuchLetter(ForwardError):
    """No dead letter of the destination has this id."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 2
