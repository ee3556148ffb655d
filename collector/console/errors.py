"""What the console answers instead of what was asked for.

CollectorError                (collector.errors)
└── ConsoleError
    ├── BadRequest            peer; 400, the request is not one we read
    ├── NotAllowed            peer, exit 6; 401, the API needs its token
    ├── Misdirected           peer; 421, the request was meant for another host name
    ├── NotThere              peer; 404, no such resource or tenant
    └── TooBusy               ours, retryable; 503, more is asked than is answered at once
"""

from typing import ClassVar

from collector.errors import CollectorError
from runtime.errors import Fault


class ConsoleError(CollectorError):
    """Anything the console raises on purpose; ``status`` is that of HTTP."""

    status: ClassVar[int] = 500


class BadRequest(ConsoleError):
    """The request is not one we read."""

    status: ClassVar[int] = 400
    fault: ClassVar[Fault] = Fault.PEER


class NotAllowed(ConsoleError):
    """The API needs its token."""

    status: ClassVar[int] = 401
    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6


class NotThere(ConsoleError):
    """There is no such resource or tenant."""

    status: ClassVar[int] = 404
    fault: ClassVar[Fault] = Fault.PEER


class Misdirected(ConsoleError):
    """The request was meant for another host name: a name made to point here, perhaps."""

    status: ClassVar[int] = 421
    fault: ClassVar[Fault] = Fault.PEER


class TooBusy(ConsoleError):
    """More is asked than is answered at once."""

    status: ClassVar[int] = 503
    retryable: ClassVar[bool] = True
