"""Where one check of one host stands at a time: from what was said of it to what it counts.

Freshness is 1 up to twice the check's interval and falls in a line to 0 at its ``max_age``. It only
takes credit away: a pass too old is unknown, while a failure stays one however old it is, and so it
does when the check can no longer be seen. Silence, age and quarantine never make a host look
better. What is not upheld of a former exemption counts as unknown without hope: it lowers the score
and does not raise the upper bound.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from collector.comply.mapping import CheckRule
from proto.content.checks import UnknownReason
from proto.model import CheckState

Order = tuple[int, int, int]


class Statement(Struct, frozen=True):
    """What a host said of a check.

    ``at`` is when the oldest evidence behind it was collected (nanoseconds UTC), None where that
    evidence has not arrived; ``order`` is where the statement lies in what the host sealed.
    """

    host: bytes
    check: str
    state: CheckState
    reason: str
    at: int | None
    order: Order


class Host(Struct, frozen=True):
    """An enrolled host; one in quarantine is not ``trusted``."""

    id: bytes
    trusted: bool = True
    criticality: int = 1


class Standing(Struct, frozen=True):
    """What a check of a host counts: ``credit`` is how fresh the evidence is, 0 to 1.

    ``hope`` tells whether an unknown verdict could still turn out a pass.
    """

    state: CheckState
    reason: str
    credit: float
    hope: bool = False


_UNREPORTED: Final = Standing(
    CheckState.UNKNOWN, UnknownReason.UNREPORTED.value, credit=0.0, hope=True
)


class Latest(Struct):
    """The newest statement that knows something, and the newest that does not."""

    known: Statement | None = None
    unknown: Statement | None = None

    def take(self, statement: Statement) -> None:
        """Take a statement in; the order in which statements come does not matter."""
        if statement.state is CheckState.UNKNOWN:
            if self.unknown is None or self.unknown.order < statement.order:
                self.unknown = statement
        elif self.known is None or self.known.order < statement.order:
            self.known = statement


def gather(statements: Iterable[Statement]) -> dict[tuple[bytes, str], Latest]:
    """Return the newest statements of each (host, check)."""
    found: dict[tuple[bytes, str], Latest] = {}
    for statement in statements:
        found.setdefault((statement.host, statement.check), Latest()).take(statement)
    return found


def freshness(rule: CheckRule, age: int) -> float:
    """Return how much evidence of an age (nanoseconds) counts; nothing where it is from later."""
    full = 2 * rule.interval
    if age < 0 or age >= rule.max_age:
        return 0.0
    if age <= full:
        return 1.0
    return (rule.max_age - age) / (rule.max_age - full)


def stand(latest: Latest | None, rule: CheckRule, host: Host, as_of: int) -> Standing:
    """Return where a check of a host stands.

    Args:
        latest: what the host said of it; None for nothing.
        rule: the check.
        host: as it is enrolled now.
        as_of: nanoseconds UTC.
    """
    known = latest.known if latest is not None else None
    unknown = latest.unknown if latest is not None else None
    if known is None or known.state not in _JUDGED:
        if unknown is None:
            return _UNREPORTED
        return Standing(CheckState.UNKNOWN, unknown.reason, credit=0.0, hope=True)
    lost_sight = unknown is not None and unknown.order > known.order
    if known.state is CheckState.FAIL:
        return _failing(known, rule, as_of, unknown.reason if lost_sight and unknown else "")
    exempt = known.state is CheckState.NOT_APPLICABLE
    if lost_sight and unknown is not None:
        return Standing(CheckState.UNKNOWN, unknown.reason, credit=0.0, hope=not exempt)
    doubt = _doubt(known, rule, host, as_of)
    if doubt is not None:
        return Standing(CheckState.UNKNOWN, doubt.value, credit=0.0, hope=not exempt)
    credit = 0.0 if exempt or known.at is None else freshness(rule, as_of - known.at)
    return Standing(known.state, known.reason, credit)


_JUDGED: Final = frozenset({CheckState.PASS, CheckState.FAIL, CheckState.NOT_APPLICABLE})


def _failing(known: Statement, rule: CheckRule, as_of: int, unseen: str) -> Standing:
    credit = 0.0 if known.at is None else freshness(rule, as_of - known.at)
    reason = known.reason
    if unseen:
        reason = f"not seen since ({unseen}): {reason}"
    elif credit == 0.0:
        reason = f"{UnknownReason.STALE.value}: {reason}"
    return Standing(CheckState.FAIL, reason, credit)


def _doubt(known: Statement, rule: CheckRule, host: Host, as_of: int) -> UnknownReason | None:
    """Return why a pass or an exemption is not upheld, None where it is."""
    if not host.trusted:
        return UnknownReason.UNTRUSTED
    if known.at is None:
        return UnknownReason.UNPROVEN
    if as_of < known.at:
        return UnknownReason.FUTURE
    return None if freshness(rule, as_of - known.at) > 0 else UnknownReason.STALE
