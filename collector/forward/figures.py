"""How forwarding is, as plain numbers: what metrics and tables show. Pure."""

from msgspec import Struct

from collector.forward.states import Phase, State
from collector.forward.store import Status

NS_PER_S = 1_000_000_000


class Figures(Struct, frozen=True, kw_only=True):
    """One destination of one tenant at one moment.

    Args:
        name: of the destination.
        lag_batches: batches below the verified mark that it has not dealt with.
        oldest_age_s: age of the oldest event under way, in seconds; 0 when there is none.
        accepted: events that ever came to rest there.
        confirmed: as above.
        unconfirmable: as above.
        dead: events ever set aside.
        resent: events ever sent again.
        letters: dead letters now.
        phase: how it is.
        is_degraded: events reach less than they could.
        detail: why it is not running, or degraded.
    """

    name: str
    lag_batches: int
    oldest_age_s: float
    accepted: int
    confirmed: int
    unconfirmable: int
    dead: int
    resent: int
    letters: int
    phase: Phase
    is_degraded: bool
    detail: str


def figures(status: Status, mark: int, now: int) -> Figures:
    """Return the numbers of one destination.

    Args:
        status: as its file has it.
        mark: position of the newest verified batch.
        now: nanoseconds UTC.
    """
    lag = max(0, mark - status.cursor.position)
    waits = status.oldest is not None and lag > 0
    return Figures(
        name=status.name,
        lag_batches=lag,
        oldest_age_s=max(0, now - (status.oldest or now)) / NS_PER_S if waits else 0.0,
        accepted=status.counts[State.ACCEPTED],
        confirmed=status.counts[State.CONFIRMED],
        unconfirmable=status.counts[State.UNCONFIRMABLE],
        dead=status.counts[State.DEAD],
        resent=status.resent,
        letters=status.letters,
        phase=status.phase,
        is_degraded=bool(status.degraded),
        detail=status.detail or status.degraded,
    )
