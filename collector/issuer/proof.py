"""The proof an agent sends: a certificate request and a statement signed by its signing key.

The issuer believes nobody between itself and the agent's ``sense``. In this order: the request is
signed by the TLS key it names; the statement is one of the expected kind; the agent's id is the
hash of the signing key in it; that key signed exactly these bytes as a statement; the statement
names the very TLS key of the request. Nonce, token and registry are asked afterwards.
"""

import hashlib
from typing import NoReturn

import msgspec

from certs.errors import IdentityRefused, KeyUnusable, RequestRefused
from certs.identity import AgentId, PeerIdentity, TenantId, agent_id_of
from certs.request import CertificateRequest, parse_request
from certs.signatures import VerifyKey
from collector.issuer.errors import IssuerRefused, Refusal
from proto.codec import decode_statement
from proto.envelope import PayloadType, verify
from proto.errors import WireError
from proto.model import Statement, StatementKind

STATEMENT_VERSION = 1


class Proof(msgspec.Struct, frozen=True):
    """A proof that holds.

    Args:
        identity: tenant and agent as the agent states them; the id is its key's.
        request: the TLS key to certify.
        statement: what was signed.
        digest: SHA-256 of statement and signature: the very same proof again is known by it.
    """

    identity: PeerIdentity
    request: CertificateRequest
    statement: Statement
    digest: bytes


def check_proof(csr: bytes, payload: bytes, signature: bytes, kind: StatementKind) -> Proof:
    """Return what a proof proves.

    Args:
        csr: untrusted bytes.
        payload: untrusted bytes of the statement.
        signature: untrusted bytes.
        kind: what the agent must have meant to say.

    Raises:
        IssuerRefused: with reason REQUEST or STATEMENT; something does not hold.
    """
    try:
        request = parse_request(csr)
    except RequestRefused as error:
        raise IssuerRefused(Refusal.REQUEST, error.message) from error
    statement, identity = _statement(payload, signature)
    if statement.version != STATEMENT_VERSION or statement.kind is not kind:
        _refuse("the statement is not of the kind this call needs")
    if statement.new_public_key is not None:
        _refuse("only a succession names a new key")
    if statement.spki_sha256 != request.spki_sha256:
        _refuse("the statement is about another TLS key")
    return Proof(identity, request, statement, hashlib.sha256(payload + signature).digest())


def _statement(payload: bytes, signature: bytes) -> tuple[Statement, PeerIdentity]:
    try:
        statement = decode_statement(payload)
        identity = PeerIdentity(TenantId(statement.tenant), AgentId(statement.agent))
        derived = agent_id_of(statement.public_key)
        key = VerifyKey(statement.public_key)
        verify(PayloadType.STATEMENT, payload, signature, key)
    except (WireError, IdentityRefused, KeyUnusable) as error:
        raise IssuerRefused(Refusal.STATEMENT, error.message) from error
    if derived != identity.agent:
        _refuse("the agent's id is not made from its signing key")
    return statement, identity


def _refuse(message: str) -> NoReturn:
    raise IssuerRefused(Refusal.STATEMENT, message)
