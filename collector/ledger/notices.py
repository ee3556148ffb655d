"""Findings about agents' histories: what the ledger saw, in the words of everything else.

They are sealed as the collector's own batches and reach the SIEMs by the same road as any finding.
"""

from msgspec import Struct

from certs.identity import TenantId
from collector.ledger.flags import Flag, FlagKind
from collector.ledger.ports import Hole
from proto import uids
from proto.model import (
    Activity,
    Argument,
    Disposition,
    Finding,
    FindingKind,
    Precision,
    Rule,
    Severity,
    Source,
)

_SOURCE = Source(
    sensor="collector.ledger", rung="chain", coverage="every batch that the collector received"
)


class _Notice(Struct, frozen=True):
    rule: str
    title: str
    severity: Severity


_OF_FLAG = {
    FlagKind.FORK: _Notice("ledger.fork", "An agent's history has two branches", Severity.HIGH),
    FlagKind.ROLLBACK: _Notice("ledger.rollback", "An agent's history went back", Severity.HIGH),
    FlagKind.STATE_LOSS: _Notice(
        "ledger.state_loss", "An agent does not know its own history", Severity.HIGH
    ),
    FlagKind.ORPHAN: _Notice(
        "ledger.orphan", "An agent continues a history that never came", Severity.HIGH
    ),
    FlagKind.BODY: _Notice(
        "ledger.body", "A signed batch does not hold what was signed", Severity.HIGH
    ),
}
_OF_HOLE = _Notice("ledger.hole", "Batches of an agent are missing", Severity.MEDIUM)


def notice_of_flag(tenant: TenantId, flag: Flag, now: int) -> Finding:
    """Return the finding that tells of a break in an agent's history.

    Args:
        tenant: whose agent.
        flag: the break.
        now: nanoseconds UTC.
    """
    return _finding(
        _OF_FLAG[flag.kind], tenant, flag.at, now, _of(flag.agent, flag.epoch, flag.seq)
    )


def notice_of_hole(tenant: TenantId, hole: Hole, now: int) -> Finding:
    """Return the finding that tells of batches that should have come.

    Args:
        tenant: whose agent.
        hole: what is missing.
        now: nanoseconds UTC.
    """
    arguments = (
        *_of(hole.agent, hole.epoch, hole.wanted),
        Argument("known_up_to", str(hole.top)),
    )
    return _finding(_OF_HOLE, tenant, hole.since, now, arguments)


def _of(agent: bytes, epoch: bytes, seq: int) -> tuple[Argument, ...]:
    return (
        Argument("agent", uids.show(agent)),
        Argument("epoch", epoch.hex()),
        Argument("seq", str(seq)),
    )


def _finding(
    notice: _Notice, tenant: TenantId, at: int, now: int, arguments: tuple[Argument, ...]
) -> Finding:
    agent, epoch, *_ = (argument.value for argument in arguments)
    return Finding(
        kind=FindingKind.INTEGRITY,
        activity=Activity.CREATE,
        disposition=Disposition.ALERT,
        severity=notice.severity,
        confidence=100,
        title=notice.title,
        key=uids.finding_key(
            tenant.bytes, agent.encode(), FindingKind.INTEGRITY, notice.rule, epoch
        ),
        rule=Rule(id=notice.rule),
        source=_SOURCE,
        event_time=at,
        event_precision=Precision.EXACT,
        observed_at=now,
        arguments=arguments,
    )
