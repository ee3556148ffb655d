"""What can be wrong with an identity, a key or somebody's trust.

VedetteError                (runtime.errors)
└── CertError
    ├── BadSignature        peer; the bytes are not what the key's owner signed
    ├── IdentityRefused     peer, exit 6; ``reason`` says which rule the identity breaks
    ├── RequestRefused      peer, exit 6; a certificate request we will not sign
    ├── TokenRefused        peer, exit 6; a join token that is damaged or not good any more
    ├── TrustRefused        peer, exit 6; a trust file that is not the one the token names
    ├── KeyUnusable         operator; a key file that is missing, exposed or not a key
    └── AuthorityUnusable   operator; a certificate authority that cannot issue (any more)

Whoever verifies gets a value or one of these; nothing here answers with a boolean.
"""

import enum
from typing import ClassVar

from runtime.errors import Fault, VedetteError


class CertError(VedetteError):
    """Anything this room raises."""


class BadSignature(CertError):
    """A signature does not verify under the key it should."""

    fault: ClassVar[Fault] = Fault.PEER


class IdentityReason(enum.Enum):
    """Which rule an identity breaks; the values are stable names, used as labels."""

    ID = "id"
    DOMAIN = "domain"
    URI = "uri"
    SIZE = "size"
    MALFORMED = "malformed"
    VERSION = "version"
    ALGORITHM = "algorithm"
    SUBJECT = "subject"
    NAMES = "names"
    AUTHORITY = "authority"
    USAGE = "usage"
    EXTENSION = "extension"
    LIFETIME = "lifetime"
    ISSUER = "issuer"
    SIGNATURE = "signature"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"


class IdentityRefused(CertError):
    """A name or certificate breaks the identity profile; asking again cannot help.

    Args:
        reason: the rule it breaks.
        message: what happened, in one lower-case clause; never holds the peer's bytes unescaped.
        hint: what the reader should do next; empty when nothing can be done.
    """

    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6

    def __init__(self, reason: IdentityReason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RequestRefused(CertError):
    """A certificate request is malformed, of the wrong key type or not signed by its own key."""

    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6


class TokenRefused(CertError):
    """A join token is damaged, unknown, used, expired or meant for another tenant."""

    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6


class TrustRefused(CertError):
    """A trust file is malformed, or is not the one that the join token pins."""

    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 6


class KeyUnusable(CertError):
    """A key is missing, readable by others, owned by somebody else, or not a key we accept."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class AuthorityUnusable(CertError):
    """A certificate authority does not fit its key, its tenant or its root, or has expired."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class TlsUnusable(CertError):
    """A connection made now would not keep what we promise of it."""
