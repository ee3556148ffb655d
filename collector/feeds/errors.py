"""What can go wrong between a feed and a published release.

CollectorError                (collector.errors)
└── FeedError
    ├── FeedUnusable          operator; a feed that cannot be read at all
    ├── WarningListUnusable   operator; a list of harmless values that cannot be read
    ├── NotInitialised        operator, exit 4; there is no content repository yet
    ├── RepositoryDamaged     host; the published metadata is not what our keys signed
    ├── OfflineKeyNeeded      operator; signatures of the offline keys have run out
    └── NoSuchContent         peer; a name that is not published (now)

A release that is refused is a `proto.content.errors.ContentRefused`.
"""

from typing import ClassVar

from collector.errors import CollectorError
from runtime.errors import Fault


class FeedError(CollectorError):
    """Anything this room raises."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class FeedUnusable(FeedError):
    """A feed is missing, too large or not of its format; it gives no row."""


class WarningListUnusable(FeedError):
    """A warninglist is not one; applying the others alone would let harmless values through."""


class NotInitialised(FeedError):
    """The repository has no keys or no metadata."""

    exit_code: ClassVar[int] = 4


class RepositoryDamaged(FeedError):
    """The repository's own files are missing, changed or signed by other keys."""

    fault: ClassVar[Fault] = Fault.HOST


class OfflineKeyNeeded(FeedError):
    """Root or targets expired; only the offline keys can sign new ones."""


class NoSuchContent(FeedError):
    """Nothing is published under this name."""

    fault: ClassVar[Fault] = Fault.PEER
