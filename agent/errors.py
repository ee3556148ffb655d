"""What can go wrong on a host.

VedetteError                  (runtime.errors)
├── OutboxError               host; what the disk or a file of ours did
│   ├── OutboxFull            retryable: nothing was kept; make room, then the same call works
│   ├── OutboxFailed          retryable: the bytes are not durable; they go to a new segment
│   └── SegmentDamaged        final: these bytes are not an entry
├── DoorError                 peer; the other half of the agent sent what it must not
├── InspectionFailed          host; a file was not inspected, ``reason`` says why
├── NotEnrolled               operator, exit 6: there is no identity here yet
├── IdentityMoved             operator, exit 6: the identity is of another machine
└── Unreachable               peer, retryable, exit 5: the collector does not answer
"""

import enum
from typing import ClassVar

from runtime.errors import Fault, VedetteError


class OutboxError(VedetteError):
    """The durable queue could not do what was asked."""

    fault: ClassVar[Fault] = Fault.HOST


class OutboxFull(OutboxError):
    """No room: the disk or our own limit. Nothing of this commit was kept."""

    retryable: ClassVar[bool] = True


class OutboxFailed(OutboxError):
    """A write or a sync failed, so nothing of this commit counts as kept."""

    retryable: ClassVar[bool] = True


class SegmentDamaged(OutboxError):
    """The bytes at this place of a segment are not an entry of it."""


class DoorError(VedetteError):
    """A frame at the door that no honest peer sends; the door closes for a while."""

    fault: ClassVar[Fault] = Fault.PEER


class FailReason(enum.Enum):
    """Why an inspection came to nothing."""

    CORRUPT = "corrupt"
    ENDS_EARLY = "ends_early"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    OFF = "off"
    DEADLINE = "deadline"
    GARBAGE = "garbage"
    GONE = "gone"
    BUSY = "busy"


class InspectionFailed(VedetteError):
    """A file was not inspected, or not to its end."""

    fault: ClassVar[Fault] = Fault.HOST

    def __init__(
        self, message: str, reason: FailReason = FailReason.REFUSED, *, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class NotEnrolled(VedetteError):
    """The agent has no identity yet."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 6


class IdentityMoved(VedetteError):
    """The identity was made on another machine; its key must not be used here."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 6


class Unreachable(VedetteError):
    """The collector cannot be reached; sensing goes on."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 5
