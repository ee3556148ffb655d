"""How much a peer may have: tokens that come back with time, and places that come back by hand."""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from certs.identity import PeerIdentity
from collector.errors import AccessDenied, Denial
from collector.gateway.settings import StreamSettings
from runtime.clock import NS_PER_S

AGENTS_REMEMBERED_MAX: Final = 65_536


class TokenBucket:
    """A rate with a burst; what is taken beyond it is a debt to wait off.

    Args:
        rate: tokens a second.
        burst: tokens at most at once.
        now_ns: monotonic.
    """

    __slots__ = ("_burst", "_now_ns", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now_ns: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._now_ns = now_ns

    def take(self, count: float, now_ns: int) -> float:
        """Take tokens; return how many seconds to wait before the next ones are asked for."""
        earned = (now_ns - self._now_ns) * self._rate / NS_PER_S
        self._now_ns = now_ns
        self._tokens = min(self._burst, self._tokens + earned) - count
        return max(0.0, -self._tokens / self._rate)


class Places:
    """A limited number of places for each key.

    Args:
        what: what the places are for, in a message to the peer.
        count_max: for one key.
    """

    def __init__(self, what: str, count_max: int) -> None:
        self._what = what
        self._count_max = count_max
        self._taken: Counter[Hashable] = Counter()

    @contextmanager
    def one(self, key: Hashable) -> Iterator[None]:
        """Hold a place.

        Raises:
            AccessDenied: all are taken.
        """
        if self._taken[key] >= self._count_max:
            raise AccessDenied(
                Denial.QUOTA, f"more than {self._count_max} {self._what}", hint="try again later"
            )
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    def total(self) -> int:
        """Return how many places are taken, of all keys together."""
        return self._taken.total()


class Rates:
    """The rates of every agent, kept over its connections: a new one earns no new burst.

    Args:
        settings: rates and bursts.
        agents_max: how many are remembered; the one that was away longest goes first.
    """

    def __init__(self, settings: StreamSettings, agents_max: int = AGENTS_REMEMBERED_MAX) -> None:
        self._settings = settings
        self._agents_max = agents_max
        self._buckets: OrderedDict[PeerIdentity, tuple[TokenBucket, TokenBucket]] = OrderedDict()

    def take(self, agent: PeerIdentity, size_bytes: int, now_ns: int) -> float:
        """Count one batch; return how many seconds to wait before the next one is read."""
        found = self._buckets.get(agent)
        if found is None:
            found = self._buckets[agent] = self._new(now_ns)
            if len(self._buckets) > self._agents_max:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(agent)
        batches, sizes = found
        return max(batches.take(1, now_ns), sizes.take(size_bytes, now_ns))

    def _new(self, now_ns: int) -> tuple[TokenBucket, TokenBucket]:
        limits = self._settings
        return (
            TokenBucket(limits.agent_batches_per_s_max, limits.agent_batches_burst_max, now_ns),
            TokenBucket(limits.agent_bytes_per_s_max, limits.agent_bytes_burst_max, now_ns),
        )
