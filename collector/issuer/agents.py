"""The registry: which agents there are, by which key they sign, by which certificate they come.

Every change of an agent takes the next revision, so that an enforcement point which knows all up
to revision n asks for what came after, and misses nothing.
"""

import enum
import sqlite3
from typing import Any

import msgspec

from certs.identity import AgentId, PeerIdentity, TenantId
from collector.issuer.store import next_revision

SERIAL_BYTES = 20

_COLUMNS = (
    "tenant, agent, signing_key, host_name, state, reason, enrolled_ns, changed_ns, current, next,"
    " generation, generation_stated, recoveries, revision"
)


class State(enum.Enum):
    """Whether an agent is let in."""

    ACTIVE = "active"
    LOCKED = "locked"
    REVOKED = "revoked"


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the registry.

    Args:
        identity: tenant and agent.
        signing_key: the raw Ed25519 key that its id is made from.
        host_name: as the agent stated at its last enrolment or renewal; untrusted text.
        state: whether it is let in.
        reason: why it is not.
        enrolled_ns: when it first enrolled.
        changed_ns: when this row last changed.
        current: serial number of the certificate in use; empty when only a recovery can help.
        next: serial number of the one that follows; empty where there is none.
        generation: counts the certificates issued.
        generation_stated: the highest generation its signing process has stated.
        recoveries: how often it came back by its signing key alone since its last renewal.
        revision: marks the last change.
    """

    identity: PeerIdentity
    signing_key: bytes
    host_name: str
    state: State = State.ACTIVE
    reason: str = ""
    enrolled_ns: int
    changed_ns: int
    current: bytes = b""
    next: bytes = b""
    generation: int = 0
    generation_stated: int = 0
    recoveries: int = 0
    revision: int = 0


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that was issued and has not expired.

    Args:
        serial: 20 bytes.
        identity: whose.
        generation: the how manieth of the agent.
        request: digest of the request it answers.
        proof: digest of the proof it answers.
        not_after_ns: its end.
        chain_pem: itself and its authority.
    """

    serial: bytes
    identity: PeerIdentity
    generation: int
    request: bytes
    proof: bytes
    not_after_ns: int
    chain_pem: bytes


def serial_bytes(serial: int) -> bytes:
    """Return a serial number as the registry writes it."""
    return serial.to_bytes(SERIAL_BYTES, "big")


def find(db: sqlite3.Connection, identity: PeerIdentity) -> Agent | None:
    """Return an agent, or None where there is none of that id in that tenant."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM agents WHERE tenant = ? AND agent = ?",  # noqa: S608 - constant
        (identity.tenant.bytes, identity.agent.bytes),
    ).fetchone()
    return None if row is None else _agent(row)


def save(db: sqlite3.Connection, agent: Agent, now_ns: int) -> Agent:
    """Write an agent whole and return it with its new revision.

    The signing key and the time of enrolment of an agent that is there stay what they were.
    """
    saved = msgspec.structs.replace(agent, changed_ns=now_ns, revision=next_revision(db))
    db.execute(
        f"INSERT INTO agents({_COLUMNS}) VALUES ({', '.join('?' * 14)})"  # noqa: S608 - constant
        " ON CONFLICT (tenant, agent) DO UPDATE SET host_name = excluded.host_name,"
        " state = excluded.state, reason = excluded.reason, changed_ns = excluded.changed_ns,"
        " current = excluded.current, next = excluded.next, generation = excluded.generation,"
        " generation_stated = excluded.generation_stated, recoveries = excluded.recoveries,"
        " revision = excluded.revision",
        (
            saved.identity.tenant.bytes,
            saved.identity.agent.bytes,
            saved.signing_key,
            saved.host_name,
            saved.state.value,
            saved.reason,
            saved.enrolled_ns,
            saved.changed_ns,
            saved.current,
            saved.next,
            saved.generation,
            saved.generation_stated,
            saved.recoveries,
            saved.revision,
        ),
    )
    return saved


def changed(db: sqlite3.Connection, after: int, limit: int) -> tuple[Agent, ...]:
    """Return the agents that changed after a revision, in the order of their last change."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM agents WHERE revision > ?"  # noqa: S608 - constant
        " ORDER BY revision LIMIT ?",
        (after, limit),
    )
    return tuple(_agent(row) for row in rows)


def page(
    db: sqlite3.Connection, tenant: TenantId, after: AgentId | None, limit: int
) -> tuple[Agent, ...]:
    """Return a tenant's agents in the order of their ids, from after one of them."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM agents WHERE tenant = ? AND agent > ?"  # noqa: S608 - constant
        " ORDER BY agent LIMIT ?",
        (tenant.bytes, after.bytes if after else b"", limit),
    )
    return tuple(_agent(row) for row in rows)


def add_certificate(db: sqlite3.Connection, certificate: Certificate) -> None:
    """Remember a certificate until it expires."""
    db.execute(
        "INSERT INTO certificates(serial, tenant, agent, generation, request, proof,"
        " not_after_ns, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            certificate.serial,
            certificate.identity.tenant.bytes,
            certificate.identity.agent.bytes,
            certificate.generation,
            certificate.request,
            certificate.proof,
            certificate.not_after_ns,
            certificate.chain_pem,
        ),
    )


def certificate(
    db: sqlite3.Connection, identity: PeerIdentity, serial: bytes
) -> Certificate | None:
    """Return a certificate of this agent, or None where it has none of that number."""
    row = db.execute(
        "SELECT generation, request, proof, not_after_ns, chain FROM certificates"
        " WHERE serial = ? AND tenant = ? AND agent = ?",
        (serial, identity.tenant.bytes, identity.agent.bytes),
    ).fetchone()
    if row is None:
        return None
    generation, request, proof, not_after_ns, chain_pem = row
    return Certificate(
        serial=serial,
        identity=identity,
        generation=generation,
        request=request,
        proof=proof,
        not_after_ns=not_after_ns,
        chain_pem=chain_pem,
    )


def forget_expired(db: sqlite3.Connection, before_ns: int) -> None:
    """Drop certificates that expired: nobody gets in by one, so nobody can ask by one."""
    db.execute("DELETE FROM certificates WHERE not_after_ns < ?", (before_ns,))


def forget_certificates(db: sqlite3.Connection, identity: PeerIdentity) -> None:
    """Drop an agent's certificates: asking by one is then a mistake, and no sign of a copy."""
    db.execute(
        "DELETE FROM certificates WHERE tenant = ? AND agent = ?",
        (identity.tenant.bytes, identity.agent.bytes),
    )


def add_revocation(db: sqlite3.Connection, agent: Agent, by_uid: int, now_ns: int) -> None:
    """Write down that an agent was cut off; such a line is never changed or dropped."""
    db.execute(
        "INSERT INTO revocations(tenant, agent, at_ns, by_uid, reason) VALUES (?, ?, ?, ?, ?)",
        (
            agent.identity.tenant.bytes,
            agent.identity.agent.bytes,
            now_ns,
            by_uid,
            agent.reason,
        ),
    )


def _agent(row: tuple[Any, ...]) -> Agent:
    tenant, agent, *rest = row
    names = _COLUMNS.split(", ")[2:]
    fields = dict(zip(names, rest, strict=True))
    fields["state"] = State(fields["state"])
    identity = PeerIdentity(TenantId(tenant), AgentId(agent))
    return Agent(identity=identity, **fields)
