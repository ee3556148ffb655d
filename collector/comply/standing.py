"""Where one check of one host stands at a time: from what was said of it to what it counts.

Freshness is 1 up to twice the check's interval and falls in a line to 0 at its ``max_age``. It only
takes credit away: a pass too old is unknown, while a failure stays one however old it is, until a
pass or an exemption is proven by evidence. Silence, age and quarantine never make a host look
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


_GOOD: Final = frozenset({CheckState.PASS, CheckState.NOT_APPLICABLE})


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
    """The newest failure, the newest pass or exemption, and the newest that could not tell."""

    failed: Statement | None = None
    good: Statement | None = None
    unknown: Statement | None = None

    def take(self, statement: Statement) -> None:
        """Take a statement in; the order in which statements come does not matter."""
        if statement.state is CheckState.FAIL:
            self.failed = _newer(self.failed, statement)
        elif statement.state in _GOOD:
            self.good = _newer(self.good, statement)
        else:
            self.unknown = _newer(self.unknown, statement)


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
    if latest is None:
        return _UNREPORTED
    unknown, good, failed = latest.unknown, latest.good, latest.failed
    if failed is not None:
        unseen = _not_mended(failed, latest, as_of)
        if unseen is not None:
            return _failing(failed, rule, as_of, unseen)
    if good is None:
        reason = unknown.reason if unknown is not None else UnknownReason.UNREPORTED.value
        return Standing(CheckState.UNKNOWN, reason, credit=0.0, hope=True)
    exempt = good.state is CheckState.NOT_APPLICABLE
    if unknown is not None and unknown.order > good.order:
        return Standing(CheckState.UNKNOWN, unknown.reason, credit=0.0, hope=not exempt)
    doubt = _doubt(good, rule, host, as_of)
    if doubt is not None:
        return Standing(CheckState.UNKNOWN, doubt.value, credit=0.0, hope=not exempt)
    credit = 0.0 if exempt or good.at is None else freshness(rule, as_of - good.at)
    return Standing(good.state, good.reason, credit)


def _newer(one: Statement | None, two: Statement) -> Statement:
    return two if one is None or one.order < two.order else one


def _not_mended(failed: Statement, latest: Latest, as_of: int) -> str | None:
    """Return why a failure still stands ("" for: it was just seen), None where it was mended."""
    good, unknown = latest.good, latest.unknown
    if good is not None and good.order > failed.order:
        if good.at is None:
            return UnknownReason.UNPROVEN.value
        return UnknownReason.FUTURE.value if as_of < good.at else None
    return unknown.reason if unknown is not None and unknown.order > failed.order else ""


def _failing(failed: Statement, rule: CheckRule, as_of: int, unseen: str) -> Standing:
    credit = 0.0 if failed.at is None else freshness(rule, as_of - failed.at)
    reason = failed.reason
    if unseen:
        reason = f"not seen since ({unseen}): {reason}"
    elif credit == 0.0:
        reason = f"{UnknownReason.STALE.value}: {reason}"
    return Standing(CheckState.FAIL, reason, credit)


def _doubt(good: Statement, rule: CheckRule, host: Host, as_of: int) -> UnknownReason | None:
    """Return why a pass or an exemption is not upheld, None where it is."""
    if not host.trusted:
        return UnknownReason.UNTRUSTED
    if good.at is None:
        return UnknownReason.UNPROVEN
    if as_of < good.at:
        return UnknownReason.FUTURE
    return None if freshness(rule, as_of - good.at) > 0 else UnknownReason.STALE
