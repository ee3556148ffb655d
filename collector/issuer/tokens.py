"""The table of join tokens: hashes, whose they are, and what each was used for.

A token is used by one statement of SQL that names every condition, so of any number of attempts at
once exactly one finds it unused.
"""

import sqlite3
from typing import NoReturn

import msgspec

from certs.identity import AgentId, TenantId
from certs.tokens import token_hash
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.proof import Proof
from runtime.clock import NS_PER_S

# An expired token is kept a day, so that an audit can still tell what it was.
KEPT_AFTER_END_NS = 86_400 * NS_PER_S


class Redeemed(msgspec.Struct, frozen=True):
    """What a token was used for before, by the very same agent and request.

    Args:
        serial: of the certificate it gave.
        proof: digest of the proof it was used with.
    """

    serial: bytes
    proof: bytes


def mint(db: sqlite3.Connection, tenant: TenantId, secret: bytes, times_ns: range) -> None:
    """Record a new token.

    Args:
        db: inside a transaction.
        tenant: whose agent it will admit.
        secret: 32 random bytes; only their hash is kept.
        times_ns: from its making to its expiry.
    """
    db.execute(
        "INSERT INTO tokens(hash, tenant, created_ns, expires_ns) VALUES (?, ?, ?, ?)",
        (token_hash(secret), tenant.bytes, times_ns.start, times_ns.stop),
    )


def count_open(db: sqlite3.Connection, tenant: TenantId, now_ns: int) -> int:
    """Return how many of a tenant's tokens wait to be used."""
    (count,) = db.execute(
        "SELECT count(*) FROM tokens WHERE tenant = ? AND expires_ns > ? AND used_ns IS NULL",
        (tenant.bytes, now_ns),
    ).fetchone()
    return int(count)


def redeem(db: sqlite3.Connection, secret: bytes, proof: Proof, now_ns: int) -> None:
    """Use a token up, for this proof.

    Raises:
        IssuerRefused: with reason TOKEN: unknown, used, expired or another tenant's, never which.
    """
    changed = db.execute(
        "UPDATE tokens SET used_ns = :now, agent = :agent, request = :request, proof = :proof"
        " WHERE hash = :hash AND tenant = :tenant AND used_ns IS NULL AND expires_ns > :now",
        _named(secret, proof, now_ns),
    ).rowcount
    if changed != 1:
        refuse_token()


def redeemed(db: sqlite3.Connection, secret: bytes, proof: Proof, now_ns: int) -> Redeemed | None:
    """Return what the same agent got for the same request by this token, while the token lasts."""
    found = db.execute(
        "SELECT serial, proof FROM tokens WHERE hash = :hash AND tenant = :tenant"
        " AND agent = :agent AND request = :request AND expires_ns > :now",
        _named(secret, proof, now_ns),
    ).fetchone()
    return None if found is None else Redeemed(*found)


def record_serial(db: sqlite3.Connection, secret: bytes, serial: bytes) -> None:
    """Remember which certificate a token gave."""
    db.execute("UPDATE tokens SET serial = ? WHERE hash = ?", (serial, token_hash(secret)))


def forget_old(db: sqlite3.Connection, now_ns: int) -> None:
    """Drop tokens that expired a day ago."""
    db.execute("DELETE FROM tokens WHERE expires_ns < ?", (now_ns - KEPT_AFTER_END_NS,))


def refuse_token() -> NoReturn:
    """Give the one answer to every token that is not good.

    Raises:
        IssuerRefused: always.
    """
    raise IssuerRefused(
        Refusal.TOKEN,
        "the join token is not good",
        hint="it may be used, expired or meant for another collector: ask for a new one",
    )


def _named(secret: bytes, proof: Proof, now_ns: int) -> dict[str, object]:
    agent: AgentId = proof.identity.agent
    return {
        "hash": token_hash(secret),
        "tenant": proof.identity.tenant.bytes,
        "agent": agent.bytes,
        "request": proof.request.digest,
        "proof": proof.digest,
        "now": now_ns,
    }
