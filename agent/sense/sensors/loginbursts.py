"""Many failed logins from one address, or for one account: brute force, told once an episode.

Counted in event time, so that a backlog gives what the day itself would have given; an episode that
nobody adds to ends by the clock of the reader. The table is bounded: where more addresses attack at
once than it holds, the one that was quiet longest is forgotten. A login that succeeds during an
episode, or soon after, is told at once.

Pure: times are arguments.
"""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct, structs

from proto.model import TEXT_BYTES_MAX

ACCOUNTS_MAX: Final = 32
# Of an episode that goes on and on, the count is told again so often.
AGAIN_NS: Final = 3_600_000_000_000
# How long after the last failure a success is still taken for the attack's own.
MEMORY_NS: Final = 3_600_000_000_000
SEALED_MAX: Final = 64

_NS_PER_S: Final = 1_000_000_000
_COUNT_MAX: Final = 2**32 - 1


class BurstSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is called brute force."""

    # So many failures from one remote address, or for one account, within the window.
    failures_min: Annotated[int, Meta(ge=3, le=32)] = 10
    window_s: Annotated[int, Meta(ge=10, le=86_400)] = 300
    # Addresses and accounts that are counted at once; each costs up to 2 KiB of memory.
    origins_max: Annotated[int, Meta(ge=16, le=65_536)] = 1024


class Attempt(Struct, frozen=True):
    """One login or failure: from where, for whom, through what, and when (nanoseconds UTC)."""

    address: str
    user: str
    service: str
    at: int
    is_accepted: bool = False


class Burst(Struct, frozen=True):
    """What is to be told: so many ``attempts`` on so many ``accounts`` (33 means more than 32).

    ``address`` or ``user`` is empty where the attempts have more than one.
    """

    address: str
    user: str
    service: str
    attempts: int
    accounts: int
    at: int
    is_accepted: bool = False


class _Origin(Struct, array_like=True):
    """Failures of one address, or for one account from everywhere."""

    service: str
    times: list[int]  # of the newest ones, as many as make a burst
    names: list[int]  # hashes of the accounts tried, or of the addresses that tried
    name: str  # the first of them
    last: int
    seen: int  # by the reader's clock
    is_open: bool = False  # an episode is going on
    count: int = 0  # of this episode, or of the last one
    told: int = 0
    told_at: int = 0
    won: Annotated[list[int], Meta(max_length=ACCOUNTS_MAX)] = []


Sealed = Annotated[
    tuple[tuple[Annotated[str, Meta(max_length=TEXT_BYTES_MAX)], _Origin], ...],
    Meta(max_length=SEALED_MAX),
]


class Bursts:
    """The table.

    Args:
        settings: of what is a burst.
    """

    def __init__(self, settings: BurstSettings) -> None:
        self._settings = settings
        self._window = settings.window_s * _NS_PER_S
        self._origins: dict[str, _Origin] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        """How many addresses and accounts are being counted."""
        return len(self._origins)

    def note(self, attempt: Attempt, now: int) -> Iterator[Burst]:
        """Count an attempt and yield what is to be told because of it, at most one burst.

        Args:
            attempt: in the order of the log.
            now: boot-clock nanoseconds.
        """
        is_told = False
        for key, other in _keys(attempt):
            for burst in self._note(key, other, attempt, now):
                if not is_told:
                    is_told = True
                    yield burst

    def tick(self, now: int) -> Iterator[Burst]:
        """End what is over and yield its final count.

        Args:
            now: boot-clock nanoseconds.
        """
        for key, origin in list(self._origins.items()):
            quiet = now - origin.seen
            if origin.is_open and quiet > self._window:
                yield from self._end(key, origin)
            if quiet > (max(MEMORY_NS, self._window) if origin.count else self._window):
                del self._origins[key]

    def state(self) -> Sealed:
        """Return what a restart has to know: the newest `SEALED_MAX` rows."""
        return tuple(list(self._origins.items())[-SEALED_MAX:])

    def restore(self, state: Sealed, now: int) -> None:
        """Begin with what `state` returned, perhaps before another boot.

        Args:
            state: what was kept.
            now: boot-clock nanoseconds.
        """
        self._origins = dict(state)
        for origin in self._origins.values():
            origin.seen = now

    def _note(self, key: str, other: str, attempt: Attempt, now: int) -> Iterator[Burst]:
        origin = self._origins.pop(key, None)
        if attempt.is_accepted:
            if origin is not None:
                self._origins[key] = origin
                yield from self._won(key, origin, attempt)
            return
        if origin is None:
            origin = _Origin(attempt.service, [], [], other, attempt.at, now)
            self._make_room()
        self._origins[key] = origin
        if origin.is_open and abs(attempt.at - origin.last) > self._window:
            yield from self._end(key, origin)
        origin.seen = now
        self._count(origin, other, attempt)
        if self._is_due(key, origin, attempt.at):
            origin.told, origin.told_at = origin.count, attempt.at
            yield self._burst(key, origin, attempt.at)

    def _end(self, key: str, origin: _Origin) -> Iterator[Burst]:
        """End an episode and yield its count, where that is not told yet."""
        origin.is_open = False  # first: who takes no more after the yield does not come back
        origin.times.clear()
        if origin.count > origin.told:
            yield self._burst(key, origin, origin.last)

    def _count(self, origin: _Origin, other: str, attempt: Attempt) -> None:
        hashed = _hashed(other)
        if hashed not in origin.names and len(origin.names) <= ACCOUNTS_MAX:
            origin.names.append(hashed)
        if origin.service != attempt.service:
            origin.service = ""
        origin.last = attempt.at
        origin.times.append(attempt.at)
        del origin.times[: -self._settings.failures_min]
        if origin.is_open:
            origin.count = min(origin.count + 1, _COUNT_MAX)

    def _is_due(self, key: str, origin: _Origin, at: int) -> bool:
        if origin.is_open:
            return abs(at - origin.told_at) >= AGAIN_NS
        is_full = len(origin.times) >= self._settings.failures_min
        if not is_full or abs(at - origin.times[0]) > self._window:
            return False
        if key.startswith(_USER) and len(origin.names) == 1 and origin.name:
            return False  # one address alone: told under the address
        origin.is_open, origin.count = True, len(origin.times)
        return True

    def _won(self, key: str, origin: _Origin, attempt: Attempt) -> Iterator[Burst]:
        """Tell a success where there is an episode, or was one: once for an account."""
        hashed = _hashed(attempt.user)
        is_late = not origin.is_open and abs(attempt.at - origin.last) > MEMORY_NS
        if not origin.count or is_late or hashed in origin.won:
            return
        origin.won = [*origin.won, hashed][-ACCOUNTS_MAX:]
        yield structs.replace(
            self._burst(key, origin, attempt.at),
            address=attempt.address,
            user=attempt.user,
            service=attempt.service,
            is_accepted=True,
        )

    def _burst(self, key: str, origin: _Origin, at: int) -> Burst:
        is_user = key.startswith(_USER)
        only = origin.name if len(origin.names) == 1 else ""
        return Burst(
            address=only if is_user else key.removeprefix(_ADDRESS),
            user=key.removeprefix(_USER) if is_user else only,
            service=origin.service,
            attempts=origin.count,
            accounts=1 if is_user else len(origin.names),
            at=at,
        )

    def _make_room(self) -> None:
        if len(self._origins) >= self._settings.origins_max:
            del self._origins[next(iter(self._origins))]
            self.forgotten += 1


_ADDRESS: Final = "a:"
_USER: Final = "u:"


def _keys(attempt: Attempt) -> Iterator[tuple[str, str]]:
    """Yield under what an attempt counts, and what else it names."""
    if attempt.address:
        yield _ADDRESS + attempt.address, attempt.user
    if attempt.user:
        yield _USER + attempt.user, attempt.address


def _hashed(text: str) -> int:
    """Return a small number for a text; not Python's own, which is another in every run."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=6).digest())
