"""Certificates for agents: first ones by token, next ones by the one before, others by key alone.

Each operation is one transaction: what is answered is on disk, and what fails leaves no trace but
a line in the audit. The nonce of a statement is used up by the first operation that accepts the
statement; the very same statement again gives the very same certificate again, so that a reply
lost on the way costs the agent nothing.
"""

import sqlite3

import msgspec

from certs.errors import AuthorityUnusable
from certs.identity import PeerIdentity
from collector.issuer import agents, audit, tokens
from collector.issuer.agents import Agent, Certificate, State
from collector.issuer.desk import Desk
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import (
    Activate,
    Begin,
    Begun,
    Challenge,
    Enroll,
    Issued,
    Reattest,
    Renew,
    Standing,
)
from collector.issuer.proof import Proof, check_proof
from collector.issuer.renewal import Answer, answer_renewal
from collector.issuer.renewal import Standing as Stand
from proto.model import StatementKind


def begin(desk: Desk, request: Begin) -> Begun:
    """Hand out a nonce and what the tenant's hosts trust.

    Raises:
        IssuerRefused: with reason TENANT: no tenant of that id can enrol hosts.
    """
    try:
        trust = desk.vault.trust(request.tenant)
    except IssuerUnready as error:
        raise IssuerRefused(Refusal.TENANT, "this tenant cannot enrol hosts") from error
    return Begun(nonce=desk.make_nonce(), trust=trust.encode())


def challenge(desk: Desk, _request: Challenge) -> Begun:
    """Hand out a nonce."""
    return Begun(nonce=desk.make_nonce(), trust=b"")


def enroll(desk: Desk, request: Enroll) -> Issued:
    """Turn a join token into a first certificate.

    Raises:
        IssuerRefused: the proof does not hold, the nonce or the token is not good, or the key was
            cut off before.
        IssuerUnready: the tenant's authority cannot issue; the token is not used up.
    """
    statement = request.statement
    proof = check_proof(request.csr, statement.payload, statement.signature, StatementKind.ENROL)
    now_ns = desk.clock.wall_ns()
    with desk.store.transaction() as db:
        before = tokens.redeemed(db, request.secret, proof, now_ns)
        if before is None or before.proof != proof.digest:
            desk.take_nonce(proof.statement.nonce)
        if before is not None:
            return _again(db, proof.identity, before.serial)
        tokens.redeem(db, request.secret, proof, now_ns)
        issued = _issue(desk, db, _newcomer(db, proof, now_ns), proof)
        agent = agents.save(
            db, msgspec.structs.replace(issued.agent, current=issued.serial), now_ns
        )
        tokens.record_serial(db, request.secret, issued.serial)
        _granted(db, "enroll", proof.identity, request.source, now_ns)
    return msgspec.structs.replace(issued, agent=agent)


def reattest(desk: Desk, request: Reattest) -> Issued:
    """Give an agent whose certificate has expired, or is lost, another by its signing key.

    Raises:
        IssuerRefused: the proof does not hold, the nonce is not good, the agent is unknown, cut
            off or locked, or came back too often.
        IssuerUnready: the tenant's authority cannot issue.
    """
    statement = request.statement
    proof = check_proof(request.csr, statement.payload, statement.signature, StatementKind.REATTEST)
    with desk.store.transaction() as db:
        outcome = _reattest(desk, db, proof, request.source)
    return _unlocked(outcome)


def renew(desk: Desk, request: Renew) -> Issued:
    """Give an agent the certificate that follows the one it showed.

    Raises:
        IssuerRefused: the proof does not hold, is not the peer's, the nonce is not good, or the
            certificate shown is not the agent's current one.
        IssuerUnready: the tenant's authority cannot issue.
    """
    statement = request.statement
    proof = check_proof(request.csr, statement.payload, statement.signature, StatementKind.RENEW)
    if proof.identity != request.peer:
        raise IssuerRefused(Refusal.AGENT, "the statement is another agent's")
    with desk.store.transaction() as db:
        outcome = _renew(desk, db, proof, request)
    return _unlocked(outcome)


def activate(desk: Desk, request: Activate) -> Standing:
    """Make the next certificate the current one: it was used, so the one before is no good now.

    Raises:
        IssuerRefused: the agent is unknown, cut off or locked, or the certificate is superseded.
    """
    now_ns = desk.clock.wall_ns()
    with desk.store.transaction() as db:
        agent = _active(db, request.peer)
        if request.serial == agent.next:
            agent = agents.save(db, _promoted(agent), now_ns)
        elif request.serial != agent.current:
            raise IssuerRefused(
                Refusal.SERIAL, "the certificate is not the agent's current one any more"
            )
    return Standing(agent=agent)


def _reattest(
    desk: Desk, db: sqlite3.Connection, proof: Proof, source: str
) -> Issued | IssuerRefused:
    now_ns = desk.clock.wall_ns()
    agent = _active(db, proof.identity)
    if proof.statement.generation < agent.generation_stated:
        return _lock(db, agent, source, now_ns)
    held = _unexpired(db, agent, agent.current, now_ns)
    if held is None or held.proof != proof.digest:
        desk.take_nonce(proof.statement.nonce)
    if held is not None and held.request == proof.request.digest:
        return _issued(held, agent)
    if agent.recoveries >= desk.settings.recoveries_max:
        raise IssuerRefused(
            Refusal.RECOVERIES,
            "the agent came back by its signing key too often",
            hint="an operator can let it in again: vedette-collector agents",
        )
    issued = _issue(desk, db, _restated(agent, proof), proof)
    agent = msgspec.structs.replace(
        issued.agent, current=issued.serial, next=b"", recoveries=agent.recoveries + 1
    )
    _granted(db, "reattest", proof.identity, source, now_ns)
    return msgspec.structs.replace(issued, agent=agents.save(db, agent, now_ns))


def _renew(
    desk: Desk, db: sqlite3.Connection, proof: Proof, request: Renew
) -> Issued | IssuerRefused:
    now_ns = desk.clock.wall_ns()
    agent = _active(db, request.peer)
    pending = _unexpired(db, agent, agent.next, now_ns)
    answer = answer_renewal(
        _stand(db, agent, pending, request.serial),
        request.serial,
        proof.request.digest,
        proof.statement.generation,
    )
    if answer is Answer.LOCK:
        return _lock(db, agent, request.source, now_ns)
    if answer is Answer.REFUSE:
        raise IssuerRefused(Refusal.SERIAL, "the certificate is not one of this agent's")
    if pending is None or pending.proof != proof.digest:
        desk.take_nonce(proof.statement.nonce)
    if answer is Answer.RESEND and pending is not None:
        return _issued(pending, agent)
    if request.serial == agent.next:
        agent = _promoted(agent)
    issued = _issue(desk, db, _restated(agent, proof), proof)
    agent = msgspec.structs.replace(issued.agent, next=issued.serial, recoveries=0)
    _granted(db, "renew", request.peer, request.source, now_ns)
    return msgspec.structs.replace(issued, agent=agents.save(db, agent, now_ns))


def _stand(
    db: sqlite3.Connection, agent: Agent, pending: Certificate | None, serial: bytes
) -> Stand:
    known = agents.certificate(db, agent.identity, serial) is not None
    return Stand(
        current=agent.current,
        next=agent.next,
        next_request=pending.request if pending else b"",
        superseded=known and serial not in {agent.current, agent.next},
        generation_stated=agent.generation_stated,
    )


def _issue(desk: Desk, db: sqlite3.Connection, agent: Agent, proof: Proof) -> Issued:
    """Sign and record a certificate; the caller decides what it is to the agent."""
    now_ns = desk.clock.wall_ns()
    try:
        authority = desk.vault.tenant(agent.identity.tenant)
        leaf = authority.issue(proof.request, agent.identity, now_ns)
    except AuthorityUnusable as error:
        raise IssuerUnready(error.message, hint=error.hint) from error
    agent = msgspec.structs.replace(agent, generation=agent.generation + 1)
    agents.save(db, agent, now_ns)
    made = Certificate(
        serial=agents.serial_bytes(leaf.serial),
        identity=agent.identity,
        generation=agent.generation,
        request=proof.request.digest,
        proof=proof.digest,
        not_after_ns=leaf.not_after_ns,
        chain_pem=leaf.chain_pem,
    )
    agents.add_certificate(db, made)
    return _issued(made, agent)


def _newcomer(db: sqlite3.Connection, proof: Proof, now_ns: int) -> Agent:
    """Return the agent to enrol: a new one, or one that starts again with its old key."""
    statement = proof.statement
    known = agents.find(db, proof.identity)
    if known is None:
        return Agent(
            identity=proof.identity,
            signing_key=statement.public_key,
            host_name=statement.host_name,
            enrolled_ns=now_ns,
            changed_ns=now_ns,
            generation_stated=statement.generation,
        )
    _check_active(known)
    return msgspec.structs.replace(
        known,
        host_name=statement.host_name,
        next=b"",
        generation_stated=statement.generation,
        recoveries=0,
    )


def _again(db: sqlite3.Connection, identity: PeerIdentity, serial: bytes) -> Issued:
    held = agents.certificate(db, identity, serial)
    if held is None:
        tokens.refuse_token()
    return _issued(held, _active(db, identity))


def _unexpired(
    db: sqlite3.Connection, agent: Agent, serial: bytes, now_ns: int
) -> Certificate | None:
    held = agents.certificate(db, agent.identity, serial) if serial else None
    return held if held is not None and now_ns < held.not_after_ns else None


def _active(db: sqlite3.Connection, identity: PeerIdentity) -> Agent:
    agent = agents.find(db, identity)
    if agent is None:
        raise IssuerRefused(
            Refusal.AGENT, "no such agent is enrolled", hint="enrol the host with a join token"
        )
    _check_active(agent)
    return agent


def _check_active(agent: Agent) -> None:
    if agent.state is State.REVOKED:
        raise IssuerRefused(
            Refusal.REVOKED,
            "this agent was cut off",
            hint="its signing key stays so: a host that may come back makes a new one",
        )
    if agent.state is State.LOCKED:
        raise IssuerRefused(
            Refusal.LOCKED,
            "this agent is locked: its key seems to be in use twice",
            hint="find out which host is the real one; an operator can let it in again",
        )


def _lock(db: sqlite3.Connection, agent: Agent, source: str, now_ns: int) -> IssuerRefused:
    """Lock an agent and return the refusal, to be raised when the lock is on disk."""
    reason = "asked by a superseded certificate or state: a copy of its keys, or a host set back"
    agents.save(db, msgspec.structs.replace(agent, state=State.LOCKED, reason=reason), now_ns)
    _granted(db, "lock", agent.identity, source, now_ns)
    return IssuerRefused(
        Refusal.CLONE,
        "this agent's key seems to be in use twice; it is locked now",
        hint="find out which host is the real one; an operator can let it in again",
    )


def _unlocked(outcome: Issued | IssuerRefused) -> Issued:
    if isinstance(outcome, IssuerRefused):
        raise outcome
    return outcome


def _promoted(agent: Agent) -> Agent:
    return msgspec.structs.replace(agent, current=agent.next, next=b"")


def _restated(agent: Agent, proof: Proof) -> Agent:
    return msgspec.structs.replace(
        agent,
        host_name=proof.statement.host_name,
        generation_stated=proof.statement.generation,
    )


def _issued(certificate: Certificate, agent: Agent) -> Issued:
    return Issued(
        chain_pem=certificate.chain_pem,
        serial=certificate.serial,
        not_after_ns=certificate.not_after_ns,
        generation=certificate.generation,
        agent=agent,
    )


def _granted(
    db: sqlite3.Connection, operation: str, identity: PeerIdentity, source: str, now_ns: int
) -> None:
    entry = audit.Entry(operation=operation, source=source)
    audit.append(db, entry.about(identity), now_ns)
