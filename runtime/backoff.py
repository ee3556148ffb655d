"""How long to wait before trying again: exponential growth with full jitter."""

from collections.abc import Callable


class Backoff:
    """Waits that grow, spread so that many peers do not return at the same moment.

    The n-th wait is uniform between 0 and ``min(wait_s_max, wait_s_first * 2**n)``.

    Args:
        wait_s_first: bound of the first wait, in seconds.
        wait_s_max: bound of every wait, in seconds.
        random: a source of floats in [0, 1), such as ``random.Random(seed).random``.
    """

    def __init__(
        self, *, wait_s_first: float, wait_s_max: float, random: Callable[[], float]
    ) -> None:
        if not 0 < wait_s_first <= wait_s_max:
            raise ValueError("bounds need 0 < wait_s_first <= wait_s_max")
        self._first = wait_s_first
        self._max = wait_s_max
        self._random = random
        self._bound = wait_s_first

    def next_s(self) -> float:
        """Return how many seconds to wait now, and let the next wait be longer."""
        bound = self._bound
        self._bound = min(self._max, bound * 2)
        return bound * self._random()

    def reset(self) -> None:
        """Start again from the first bound, after a success."""
        self._bound = self._first
