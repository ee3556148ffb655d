"""Which DNS messages were told within the last minute, and who asked what is now answered."""

from collections.abc import Hashable
from typing import Final

from agent.dnsframes import DnsSeen
from proto.model import Process
from runtime.clock import NS_PER_S

QUESTIONS_MAX: Final = 512
ANSWER_WAIT_NS: Final = 10 * NS_PER_S


class Repeats:
    """What was told lately; bounded, the oldest is forgotten first.

    Args:
        repeat_s: for so long the same is not told again.
        names_max: how many are remembered.
    """

    def __init__(self, repeat_s: int, names_max: int) -> None:
        self._repeat_ns = repeat_s * NS_PER_S
        self._names_max = names_max
        self._told: dict[int, int] = {}
        self.count = 0

    def is_new(self, key: Hashable, now: int) -> bool:
        """Note that something is to be told; return whether it was not, lately.

        Args:
            key: what would be told, all of it.
            now: boot-clock nanoseconds.
        """
        told, digest = self._told, hash(key)
        if now < told.get(digest, 0):
            self.count += 1
            return False
        told.pop(digest, None)
        told[digest] = now + self._repeat_ns
        while len(told) > self._names_max:
            del told[next(iter(told))]
        return True


class Questions:
    """Who asked what has not been answered yet; bounded, the oldest is forgotten first."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], tuple[int, Process]] = {}

    def asked(self, seen: DnsSeen, process: Process, now: int) -> None:
        """Note who sent a query."""
        waiting = self._open
        waiting[_transaction(seen)] = now + ANSWER_WAIT_NS, process
        while len(waiting) > QUESTIONS_MAX or next(iter(waiting.values()))[0] < now:
            del waiting[next(iter(waiting))]

    def asker(self, seen: DnsSeen, now: int) -> Process | None:
        """Return who is answered; None where that is not known."""
        until, process = self._open.get(_transaction(seen), (0, None))
        return process if now <= until else None


def _transaction(seen: DnsSeen) -> tuple[object, ...]:
    ends = seen.client, seen.client_port, seen.server, seen.server_port
    return *ends, seen.is_tcp, seen.id, seen.name, seen.qtype
