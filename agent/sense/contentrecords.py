"""What becomes of content, as records to seal; pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agent.sense.contentstore import Accepted, Swap
from agent.sense.freshness import health_of
from proto.content.errors import ContentRefused
from proto.model import Argument, Audit, Freshness, Health, HealthState

NAME: Final = "indicators"

_SUBJECT: Final = f"content.{NAME}"
_RUNG: Final = "tuf"
_REASONS: Final[Mapping[Freshness | None, str]] = MappingProxyType(
    {
        None: "there are no indicators on this host",
        Freshness.FRESH: "indicators are current",
        Freshness.STALE: "a signature of the indicators has expired; matching goes on",
        Freshness.EXPIRED: "the indicators expired more than 30 days ago; matching goes on",
    }
)


def health_record(tier: Freshness | None, at: int, verified_at: int | None) -> Health:
    """Return how current content is now.

    Args:
        tier: None where there is no content.
        at: nanoseconds UTC.
        verified_at: when a look at the collector last ended well.
    """
    state = HealthState.BLIND if tier is None else health_of(tier)
    return Health(_SUBJECT, state, _REASONS[tier], _RUNG, at, verified_at)


def swap_record(swap: Swap, at: int) -> Audit:
    """Return that a release was taken into use."""
    before, after = swap.before, swap.accepted
    return _audit(
        "accepted",
        at,
        old_version=str(before.version) if before else "",
        new_version=str(after.version),
        old_count=str(before.count) if before else "0",
        new_count=str(after.count),
        sha256=after.facts.sha256.hex(),
        role=after.facts.role,
    )


def refusal_record(refusal: ContentRefused, kept: Accepted | None, at: int) -> Audit:
    """Return that a release was not taken, and which one stays in use."""
    return _audit(
        "refused",
        at,
        reason=refusal.reason.value,
        detail=refusal.message,
        kept_version=str(kept.version) if kept else "",
    )


def unverified_record(refusal: ContentRefused, kept: Accepted, at: int) -> Audit:
    """Return that content is used whose chain could not be verified again at this start."""
    return _audit(
        "unverified",
        at,
        reason=refusal.reason.value,
        detail=refusal.message,
        kept_version=str(kept.version),
    )


def _audit(outcome: str, at: int, **detail: str) -> Audit:
    return Audit(
        actor="sense",
        action="content.swap",
        subject=NAME,
        outcome=outcome,
        at=at,
        detail=tuple(Argument(name, value) for name, value in detail.items()),
    )
