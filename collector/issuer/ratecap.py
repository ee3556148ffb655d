"""A cap on how many requests a second are served: a bucket that refills with time."""

from collector.issuer.errors import IssuerBusy
from runtime.clock import NS_PER_S


class RateCap:
    """Lets ``per_s_max`` through each second, and as many at once after a quiet second.

    Args:
        per_s_max: how many.
        now_ns: of a clock that never goes back.
    """

    def __init__(self, per_s_max: int, now_ns: int) -> None:
        self._per_s_max = per_s_max
        self._left = float(per_s_max)
        self._at_ns = now_ns

    def take(self, now_ns: int) -> None:
        """Count one request.

        Raises:
            IssuerBusy: it is one too many.
        """
        refill = (now_ns - self._at_ns) * self._per_s_max / NS_PER_S
        self._left = min(float(self._per_s_max), self._left + refill)
        self._at_ns = now_ns
        if self._left < 1:
            raise IssuerBusy("too many requests", retry_after_s=(1 - self._left) / self._per_s_max)
        self._left -= 1
