"""What a score is short of 100, point by point: the lines add up to what is missing."""

from typing import Final

from msgspec import Struct

from collector.comply.mapping import Scheme
from collector.comply.score import Weighed, total_of
from collector.comply.standing import Standing
from proto.content.checks import UnknownReason
from proto.model import CheckState

POINTS: Final = 100.0


class Loss(Struct, frozen=True):
    """Points that one check of one host does not give, and why.

    ``host`` and ``check`` are empty on the one line there is where nothing could be scored at all.
    """

    check: str
    host: bytes
    references: tuple[str, ...]
    state: CheckState
    reason: str
    points: float


def explain(scheme: Scheme, weighed: Weighed) -> tuple[Loss, ...]:
    """Return the points lost, most first; they add up to 100 - S."""
    whole = total_of(scheme, weighed).applicable
    if whole == 0:
        nothing = Loss("", b"", (), CheckState.UNKNOWN, UnknownReason.UNREPORTED.value, POINTS)
        return (nothing,)
    losses = [
        Loss(
            check,
            host,
            references,
            standing.state,
            _reason(standing),
            POINTS * _lost(weighed, check, host, standing) / whole,
        )
        for check, references in scheme.references.items()
        for host, standing in weighed.standings[check].items()
        if standing.state is not CheckState.NOT_APPLICABLE and not _is_whole(standing)
    ]
    return tuple(sorted(losses, key=lambda loss: (-loss.points, loss.check, loss.host)))


def _is_whole(standing: Standing) -> bool:
    return standing.state is CheckState.PASS and standing.credit == 1.0


def _lost(weighed: Weighed, check: str, host: bytes, standing: Standing) -> float:
    kept = standing.credit if standing.state is CheckState.PASS else 0.0
    return weighed.weights[check] * weighed.population[host].criticality * (1.0 - kept)


def _reason(standing: Standing) -> str:
    return "ageing" if standing.state is CheckState.PASS else standing.reason
