"""A rate: a bucket that holds a burst and fills by the second."""

from runtime.clock import NS_PER_S


class Bucket:
    """Gives leave, at most so often.

    Args:
        per_s: in the long run.
        burst: at once, after a rest.
    """

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = 0

    def take(self, now: int) -> bool:
        """Return whether there is leave, and use it.

        Args:
            now: nanoseconds of a clock that never goes back.
        """
        gained = (now - self._at) * self._per_s / NS_PER_S
        self._left, self._at = min(self._left + gained, self._burst), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
