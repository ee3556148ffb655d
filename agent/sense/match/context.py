"""What judging an observation needs beyond the observation itself; pure."""

from typing import Protocol

from msgspec import Struct

from proto.content.index import IndicatorIndex
from proto.model import ContentStamp, Finding, Observation


class Rules(Protocol):
    """Detection rules that observations are judged by; loaded only where there are any."""

    def judge(self, observation: Observation, tenant: bytes, host: bytes) -> tuple[Finding, ...]:
        """Return a finding for each rule that an observation meets."""
        ...


class MatchContext(Struct, frozen=True):
    """Whose host it is, what to match with, and when.

    Args:
        tenant: the tenant's 16 bytes.
        host: the agent's 16 bytes.
        index: the indicators in use.
        stamp: what they are and how current; None without any.
        now: nanoseconds UTC; indicators that have expired by then do not match.
        rules: detection rules, where there are any.
    """

    tenant: bytes
    host: bytes
    index: IndicatorIndex
    stamp: ContentStamp | None
    now: int
    rules: Rules | None = None
