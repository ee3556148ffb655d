"""The audit: who asked for what, and what became of it.

Grants and refusals are bounded apart, so that a flood of refusals pushes out refusals only.
"""

import sqlite3

import msgspec

from certs.identity import AgentId, PeerIdentity, TenantId

GRANTED = "granted"
DETAIL_CHARS_MAX = 512


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit.

    Args:
        operation: what was asked for.
        outcome: ``granted``, or the name of the rule that refused.
        tenant: whose, where that is known.
        agent: which, where that is known.
        source: the address of the asker, or the user id on this machine.
        detail: what else helps; never a secret.
    """

    operation: str
    outcome: str = GRANTED
    tenant: TenantId | None = None
    agent: AgentId | None = None
    source: str = ""
    detail: str = ""

    def about(self, identity: PeerIdentity) -> "Entry":
        """Return the same line with whom it is about."""
        return msgspec.structs.replace(self, tenant=identity.tenant, agent=identity.agent)


class Kept(msgspec.Struct, frozen=True):
    """A line as it was kept."""

    id: int
    at_ns: int
    entry: Entry


def append(db: sqlite3.Connection, entry: Entry, now_ns: int) -> None:
    """Add a line."""
    db.execute(
        "INSERT INTO audit(at_ns, operation, outcome, tenant, agent, source, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            now_ns,
            entry.operation,
            entry.outcome,
            entry.tenant.bytes if entry.tenant else None,
            entry.agent.bytes if entry.agent else None,
            entry.source,
            entry.detail[:DETAIL_CHARS_MAX],
        ),
    )


def prune(db: sqlite3.Connection, *, granted_max: int, refused_max: int) -> None:
    """Drop the oldest lines of each kind of which there are too many."""
    for granted, kept in ((True, granted_max), (False, refused_max)):
        db.execute(
            "DELETE FROM audit WHERE (outcome = 'granted') = :granted AND id <= ("
            " SELECT id FROM audit WHERE (outcome = 'granted') = :granted"
            " ORDER BY id DESC LIMIT 1 OFFSET :kept)",
            {"granted": granted, "kept": kept},
        )


def read(db: sqlite3.Connection, after: int, limit: int) -> tuple[Kept, ...]:
    """Return lines in order.

    Args:
        db: the database.
        after: the id of the last line already seen; 0 for the beginning.
        limit: how many at most.
    """
    rows = db.execute(
        "SELECT id, at_ns, operation, outcome, tenant, agent, source, detail FROM audit"
        " WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    return tuple(
        Kept(
            id=number,
            at_ns=at_ns,
            entry=Entry(
                operation=operation,
                outcome=outcome,
                tenant=TenantId(tenant) if tenant else None,
                agent=AgentId(agent) if agent else None,
                source=source,
                detail=detail,
            ),
        )
        for number, at_ns, operation, outcome, tenant, agent, source, detail in rows
    )
