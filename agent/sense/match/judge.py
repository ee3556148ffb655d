"""Everything that judges an observation, in one call; pure."""

from agent.sense.match import indicators, logins, packaged, persistence
from agent.sense.match.context import MatchContext
from proto.model import Finding, Observation


def judge(observation: Observation, context: MatchContext) -> tuple[Finding, ...]:
    """Return what an observation gives reason to tell."""
    tenant, host, rules = context.tenant, context.host, context.rules
    return (
        *indicators.judge(observation, context),
        *logins.judge(observation, tenant, host),
        *packaged.judge(observation, tenant, host),
        *persistence.judge(observation, tenant, host),
        *(rules.judge(observation, tenant, host) if rules is not None else ()),
    )
