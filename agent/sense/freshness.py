"""How current content is, from what its metadata promises and the time we trust; pure.

fresh    every signature of the chain still counts
stale    one has expired: matching goes on, and everything found says so
expired  one expired more than 30 days ago: matching goes on, and a health record says so
"""

from typing import Final

from proto.model import ContentStamp, Freshness, HealthState

STALE_NS_MAX: Final = 30 * 86_400 * 10**9

_HEALTH: Final = {
    Freshness.FRESH: HealthState.OK,
    Freshness.STALE: HealthState.DEGRADED,
    Freshness.EXPIRED: HealthState.DEGRADED,
}


def freshness(expires: int, now: int) -> Freshness:
    """Return the tier of content.

    Args:
        expires: when the first signature of its chain ends, in nanoseconds UTC.
        now: the time we trust, in nanoseconds UTC.
    """
    if now < expires:
        return Freshness.FRESH
    return Freshness.STALE if now - expires <= STALE_NS_MAX else Freshness.EXPIRED


def stamp(name: str, version: int, built_at: int, tier: Freshness, now: int) -> ContentStamp:
    """Return what findings and headers say of the content they were made with."""
    return ContentStamp(name=name, version=str(version), age=max(0, now - built_at), freshness=tier)


def health_of(tier: Freshness) -> HealthState:
    """Return what a tier means for whoever watches the sensors."""
    return _HEALTH[tier]
