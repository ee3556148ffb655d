"""Which gRPC status an error of ours is. What is our own fault is told in no detail."""

from collections.abc import Mapping
from typing import Final

import grpc

from collector.errors import (
    AccessDenied,
    Denial,
    IssuerUnavailable,
    LedgerError,
    NoSuchService,
    NotLogged,
)
from collector.feeds.errors import NoSuchContent
from collector.issuer.errors import IssuerBusy, IssuerRefused, IssuerUnready, Refusal
from proto.content.errors import ContentError
from proto.errors import TooLarge, WireError
from runtime.errors import VedetteError

_Code = grpc.StatusCode

OF_DENIAL: Final[Mapping[Denial, grpc.StatusCode]] = {
    Denial.TRANSPORT: _Code.UNAUTHENTICATED,
    Denial.IDENTITY: _Code.UNAUTHENTICATED,
    Denial.EXPIRED: _Code.UNAUTHENTICATED,
    Denial.SERIAL: _Code.UNAUTHENTICATED,
    Denial.UNKNOWN_AGENT: _Code.PERMISSION_DENIED,
    Denial.REVOKED: _Code.PERMISSION_DENIED,
    Denial.QUOTA: _Code.RESOURCE_EXHAUSTED,
    Denial.STALE_REGISTRY: _Code.UNAVAILABLE,
}

# The first that fits; whatever fits none is a fault of ours.
_OF_ERROR: Final[tuple[tuple[type[VedetteError], grpc.StatusCode], ...]] = (
    (TooLarge, _Code.RESOURCE_EXHAUSTED),
    (WireError, _Code.INVALID_ARGUMENT),
    (NoSuchContent, _Code.NOT_FOUND),
    (ContentError, _Code.INVALID_ARGUMENT),
    (NotLogged, _Code.NOT_FOUND),
    (NoSuchService, _Code.NOT_FOUND),
    (IssuerBusy, _Code.RESOURCE_EXHAUSTED),
    (IssuerUnready, _Code.UNAVAILABLE),
    (IssuerUnavailable, _Code.UNAVAILABLE),
    (LedgerError, _Code.UNAVAILABLE),
)
_OURS: Final = frozenset({_Code.UNAVAILABLE, _Code.INTERNAL})


def status_of(error: VedetteError) -> tuple[grpc.StatusCode, str]:
    """Return the status, and what the peer is told."""
    if isinstance(error, AccessDenied):
        return OF_DENIAL[error.denial], str(error)
    if isinstance(error, IssuerRefused):
        is_malformed = error.reason is Refusal.MALFORMED
        return _Code.INVALID_ARGUMENT if is_malformed else _Code.PERMISSION_DENIED, str(error)
    code = next((code for kind, code in _OF_ERROR if isinstance(error, kind)), _Code.INTERNAL)
    if code in _OURS:
        return code, "the collector cannot do this now"
    return code, str(error)
