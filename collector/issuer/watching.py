"""What changed since a revision: how an enforcement point keeps a copy of the registry."""

from collector.issuer import agents, tenants
from collector.issuer.administer import describe
from collector.issuer.desk import Desk
from collector.issuer.messages import Changes, Watch
from collector.issuer.store import revision

AGENTS_MAX = 256
TENANTS_MAX = 32


def watch(desk: Desk, request: Watch) -> Changes:
    """Return the changes after a revision, at once, up to a whole revision.

    Where there are more than fit, ``revision`` stands before the first that was left out.

    Raises:
        IssuerUnready: the database or a tenant's files cannot be read.
    """
    with desk.store.reading() as db:
        newest = revision(db)
        found_agents = agents.changed(db, request.after, AGENTS_MAX + 1)
        found_tenants = tenants.changed(db, request.after, TENANTS_MAX + 1)
    upto = newest
    if len(found_agents) > AGENTS_MAX:
        upto = min(upto, found_agents[AGENTS_MAX].revision - 1)
    if len(found_tenants) > TENANTS_MAX:
        upto = min(upto, found_tenants[TENANTS_MAX].revision - 1)
    return Changes(
        revision=upto,
        agents=tuple(agent for agent in found_agents if agent.revision <= upto),
        tenants=tuple(describe(desk, row) for row in found_tenants if row.revision <= upto),
        more=upto < newest,
    )
