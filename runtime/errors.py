"""The root of every error we raise, and the two questions each one answers.

    VedetteError
    ├── BadSettings        (runtime.settings)  operator, exit 4
    ├── AlreadyRunning     (runtime.files)     operator, exit 7
    └── one subtree a room, drawn at the top of that room's ``errors.py``

An error answers by its type: *may the same call be retried?* (``retryable``) and *whose fault is
it?* (``fault``). A command line turns it into ``exit_code`` and prints ``hint``: what to do next.
"""

import enum
from typing import ClassVar


class Fault(enum.Enum):
    """Who has to act for the call to succeed."""

    PEER = "peer"
    OPERATOR = "operator"
    HOST = "host"
    OURS = "ours"


class VedetteError(Exception):
    """Anything we raise on purpose.

    Args:
        message: what happened, in one lower-case clause.
        hint: what the reader should do next; empty when nothing can be done.
    """

    retryable: ClassVar[bool] = False
    fault: ClassVar[Fault] = Fault.OURS
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message, followed by the hint where there is one."""
        return f"{self.message} ({self.hint})" if self.hint else self.message
