"""What crosses the issuer's socket: a closed set of requests and of replies, each field bounded.

MessagePack in length-prefixed frames. A request names its kind in ``op``; there is no field that
carries code, a path or a query.
"""

from typing import Annotated, NoReturn

import msgspec

from certs.errors import IdentityRefused
from certs.identity import AgentId, PeerIdentity, TenantId
from certs.request import REQUEST_BYTES_MAX
from certs.trust import TRUST_BYTES_MAX
from collector.issuer.agents import SERIAL_BYTES, Agent
from collector.issuer.audit import Kept
from collector.issuer.errors import (
    IssuerBusy,
    IssuerError,
    IssuerRefused,
    IssuerUnready,
    Refusal,
)
from collector.issuer.settings import DEFAULT_TOKEN_LIFE_S, TOKEN_LIFE_S_MAX

FRAME_BYTES_MAX = 1024 * 1024
STATEMENT_BYTES_MAX = 8192
PAGE_MAX = 256

_Csr = Annotated[bytes, msgspec.Meta(min_length=1, max_length=REQUEST_BYTES_MAX)]
_Payload = Annotated[bytes, msgspec.Meta(min_length=1, max_length=STATEMENT_BYTES_MAX)]
_Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
_Secret = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Serial = Annotated[bytes, msgspec.Meta(min_length=SERIAL_BYTES, max_length=SERIAL_BYTES)]
_Source = Annotated[str, msgspec.Meta(max_length=128)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Pem = Annotated[bytes, msgspec.Meta(min_length=1, max_length=8192)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Page = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)]


class _Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"
):
    """One frame."""


class SignedStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent's signing key said: exact bytes and their signature."""

    payload: _Payload
    signature: _Signature


# ------------------------------------------------------------------------- asked for the agents


class Begin(_Message, frozen=True, tag="begin"):
    """A nonce and what the tenant's hosts trust; answered by ``Begun``."""

    tenant: TenantId


class Challenge(_Message, frozen=True, tag="challenge"):
    """A nonce for an agent that has a certificate; answered by ``Begun``, without trust."""


class Enroll(_Message, frozen=True, tag="enroll"):
    """A join token against a first certificate; answered by ``Issued``."""

    secret: _Secret
    csr: _Csr
    statement: SignedStatement
    source: _Source

    def __repr__(self) -> str:
        return f"Enroll(source={self.source!r}, secret=***)"


class Reattest(_Message, frozen=True, tag="reattest"):
    """A certificate for an agent whose last has expired; answered by ``Issued``."""

    csr: _Csr
    statement: SignedStatement
    source: _Source


class Renew(_Message, frozen=True, tag="renew"):
    """The certificate that follows the one shown; answered by ``Issued``.

    ``peer`` and ``serial`` come from that certificate, checked by the enforcement point.
    """

    peer: PeerIdentity
    serial: _Serial
    csr: _Csr
    statement: SignedStatement
    source: _Source


class Activate(_Message, frozen=True, tag="activate"):
    """A certificate was used for the first time; answered by ``Standing``."""

    peer: PeerIdentity
    serial: _Serial


class Watch(_Message, frozen=True, tag="watch"):
    """All that changed after a revision, as soon as something has; answered by ``Changes``."""

    after: _Number
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=3600)]


class IssueServer(_Message, frozen=True, tag="issue_server"):
    """A server certificate with the names of the settings; answered by ``ServerIssued``."""

    csr: _Csr


# ---------------------------------------------------------------------- asked by administrators


class MintToken(_Message, frozen=True, tag="mint_token"):
    """A join token; answered by ``TokenMinted``."""

    tenant: TenantId
    life_s: Annotated[int, msgspec.Meta(ge=1, le=TOKEN_LIFE_S_MAX)] = DEFAULT_TOKEN_LIFE_S


class ListAgents(_Message, frozen=True, tag="list_agents"):
    """A tenant's agents in the order of their ids; answered by ``AgentPage``."""

    tenant: TenantId
    after: AgentId | None = None
    limit: _Page = PAGE_MAX


class Revoke(_Message, frozen=True, tag="revoke"):
    """Cut an agent off for ever; answered by ``Standing``."""

    peer: PeerIdentity
    reason: _Reason


class Readmit(_Message, frozen=True, tag="readmit"):
    """Let a locked agent come back by its signing key; answered by ``Standing``."""

    peer: PeerIdentity


class ListTenants(_Message, frozen=True, tag="list_tenants"):
    """The tenants in the order of their ids; answered by ``TenantPage``."""

    after: TenantId | None = None
    limit: _Page = 64


class CreateTenant(_Message, frozen=True, tag="create_tenant"):
    """A new tenant, not yet able to issue; answered by ``AuthorityAsked``."""

    name: _Name
    tenant: TenantId | None = None


class RequestAuthority(_Message, frozen=True, tag="request_authority"):
    """A request for the offline root to sign; answered by ``AuthorityAsked``.

    ``owner`` is a tenant, or None for the collector's own authority.
    """

    owner: TenantId | None = None


class InstallAuthority(_Message, frozen=True, tag="install_authority"):
    """What the root signed; answered by ``Done``."""

    certificate_pem: _Pem
    owner: TenantId | None = None


class InstallTrust(_Message, frozen=True, tag="install_trust"):
    """What a tenant's hosts trust from now on; answered by ``Done``."""

    tenant: TenantId
    trust: Annotated[bytes, msgspec.Meta(min_length=1, max_length=TRUST_BYTES_MAX)]


class ReadAudit(_Message, frozen=True, tag="read_audit"):
    """Lines of the audit; answered by ``AuditPage``."""

    after: _Number = 0
    limit: _Page = PAGE_MAX


Request = (
    Begin
    | Challenge
    | Enroll
    | Reattest
    | Renew
    | Activate
    | Watch
    | IssueServer
    | MintToken
    | ListAgents
    | Revoke
    | Readmit
    | ListTenants
    | CreateTenant
    | RequestAuthority
    | InstallAuthority
    | InstallTrust
    | ReadAudit
)


# --------------------------------------------------------------------------------------- replies


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant.

    Args:
        tenant: its id.
        name: what people call it.
        created_ns: since when.
        authorities_pem: certificates of its authorities, the one in use first; empty until the
            root has signed one.
        authority_not_after_ns: when the one in use ends; 0 without one.
        trust_sha256: digest of its trust file; empty without one.
        revision: marks the last change.
    """

    tenant: TenantId
    name: str
    created_ns: int
    authorities_pem: tuple[bytes, ...]
    authority_not_after_ns: int
    trust_sha256: bytes
    revision: int


class Begun(_Message, frozen=True, tag="begun"):
    """A nonce, good for a minute, and the tenant's trust file."""

    nonce: bytes
    trust: bytes


class Issued(_Message, frozen=True, tag="issued"):
    """A certificate chain and how its agent stands now."""

    chain_pem: bytes
    serial: bytes
    not_after_ns: int
    generation: int
    agent: Agent


class Standing(_Message, frozen=True, tag="standing"):
    """How an agent stands now."""

    agent: Agent


class Changes(_Message, frozen=True, tag="changes"):
    """All that changed up to ``revision``; ``more`` means ask again at once."""

    revision: int
    agents: tuple[Agent, ...]
    tenants: tuple[Tenant, ...]
    more: bool


class ServerIssued(_Message, frozen=True, tag="server_issued"):
    """A server's certificate chain."""

    chain_pem: bytes
    not_after_ns: int


class TokenMinted(_Message, frozen=True, tag="token_minted"):
    """A join token: it holds a secret and is shown once."""

    token: str
    expires_ns: int

    def __repr__(self) -> str:
        return f"TokenMinted(token=***, expires_ns={self.expires_ns})"


class AgentPage(_Message, frozen=True, tag="agent_page"):
    """Some agents; there may be more after the last."""

    agents: tuple[Agent, ...]


class TenantPage(_Message, frozen=True, tag="tenant_page"):
    """Some tenants; there may be more after the last."""

    tenants: tuple[Tenant, ...]


class AuthorityAsked(_Message, frozen=True, tag="authority_asked"):
    """A certificate request (DER) for the offline root, and whose it is."""

    owner: TenantId | None
    request: bytes


class AuditPage(_Message, frozen=True, tag="audit_page"):
    """Some lines of the audit; there may be more after the last."""

    lines: tuple[Kept, ...]


class Done(_Message, frozen=True, tag="done"):
    """It is done, and on disk."""


class Failed(_Message, frozen=True, tag="failed"):
    """It was not done."""

    kind: str
    reason: Refusal | None
    message: str
    hint: str
    retry_after_s: float


Reply = (
    Begun
    | Issued
    | Standing
    | Changes
    | ServerIssued
    | TokenMinted
    | AgentPage
    | TenantPage
    | AuthorityAsked
    | AuditPage
    | Done
    | Failed
)

_REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_REPLIES: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IdentityRefused)


def encode(message: Request | Reply) -> bytes:
    """Return the payload of a frame."""
    return msgspec.msgpack.encode(message)


def decode_request(data: bytes) -> Request:
    """Return the request in a frame.

    Args:
        data: untrusted bytes, at most one frame.

    Raises:
        IssuerRefused: with reason MALFORMED.
    """
    try:
        return _REQUESTS.decode(data)
    except _BROKEN as error:
        raise IssuerRefused(Refusal.MALFORMED, "not a request") from error


def decode_reply(data: bytes) -> Reply:
    """Return the reply in a frame.

    Raises:
        IssuerUnready: the other end is not an issuer of this version.
    """
    try:
        return _REPLIES.decode(data)
    except _BROKEN as error:
        raise IssuerUnready("the issuer's reply is malformed", hint="restart both ends") from error


def failure(error: IssuerError) -> Failed:
    """Return an error as it crosses the socket."""
    return Failed(
        kind=_KINDS[type(error)],
        reason=error.reason if isinstance(error, IssuerRefused) else None,
        message=error.message,
        hint=error.hint,
        retry_after_s=error.retry_after_s if isinstance(error, IssuerBusy) else 0.0,
    )


def raise_failure(failed: Failed) -> NoReturn:
    """Raise the error that crossed the socket.

    Raises:
        IssuerRefused: a rule was broken.
        IssuerBusy: a limit was reached.
        IssuerUnready: the issuer has a problem of its own.
    """
    if failed.reason is not None:
        raise IssuerRefused(failed.reason, failed.message, hint=failed.hint)
    if failed.kind == _KINDS[IssuerBusy]:
        raise IssuerBusy(failed.message, retry_after_s=failed.retry_after_s)
    raise IssuerUnready(failed.message, hint=failed.hint)


_KINDS: dict[type[IssuerError], str] = {
    IssuerRefused: "refused",
    IssuerBusy: "busy",
    IssuerUnready: "unready",
}
