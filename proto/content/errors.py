"""What can be wrong with threat-intel content.

VedetteError                  (runtime.errors)
└── ContentError              peer; never retryable: the same bytes stay wrong
    ├── BadValue              a text is not a value of the kind it claims to be
    ├── BadName               a name that no content file of ours has
    ├── ContentDamaged        the bytes are not an index, or not the ones that were built
    ├── ContentNewer          operator; a later format than this program reads
    ├── ContentTooLarge       a named limit of the format would be passed
    └── ContentRefused        well formed and not taken; ``reason`` says which rule it breaks

Messages are shown to operators: text of a peer stands in them escaped and cut (`shown`).
"""

import enum
from typing import ClassVar, Final

from runtime.errors import Fault, VedetteError

_SHOWN_CHARS_MAX: Final = 80


class ContentError(VedetteError):
    """Content from elsewhere is not what it should be."""

    fault: ClassVar[Fault] = Fault.PEER


class BadValue(ContentError):
    """A text cannot be an indicator of its kind."""


class BadName(ContentError):
    """A content name breaks the grammar of names; no file is looked for."""


class ContentDamaged(ContentError):
    """The bytes are not an indicator index, or a bit of them changed."""


class ContentNewer(ContentError):
    """The index has a later format than this program reads."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class ContentTooLarge(ContentError):
    """More than the format, or a limit of ours, can hold."""


class RefuseReason(enum.Enum):
    """Why content was not taken; the values are stable names, used as labels."""

    SIGNATURE = "signature"
    EXPIRED = "expired"
    ROLLBACK = "rollback"
    ROLE = "role"
    DIGEST = "digest"
    SHRINK = "shrink"
    MALFORMED = "malformed"
    SIZE = "size"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    CRASHED = "crashed"


class ContentRefused(ContentError):
    """Content was offered and the one in use stays.

    Args:
        reason: the rule it breaks.
        message: what happened, in one lower-case clause.
        hint: what the reader should do next; empty when nothing can be done.
    """

    def __init__(self, reason: RefuseReason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def shown(text: str) -> str:
    """Return a peer's text as it may stand in a message: printable, quoted, cut."""
    cut = text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."
    return ascii(cut)
