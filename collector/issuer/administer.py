"""What administrators ask: tokens, agents to cut off or let in, tenants and their authorities."""

import sqlite3
import uuid

import msgspec

from certs.errors import AuthorityUnusable, RequestRefused
from certs.identity import PeerIdentity, TenantId
from certs.request import parse_request
from certs.tokens import SECRET_BYTES, JoinToken
from collector.issuer import agents, audit, tenants, tokens
from collector.issuer.agents import Agent, State
from collector.issuer.desk import Desk
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import (
    AgentPage,
    AuditPage,
    AuthorityAsked,
    CreateTenant,
    Done,
    InstallAuthority,
    InstallTrust,
    IssueServer,
    ListAgents,
    ListTenants,
    MintToken,
    ReadAudit,
    Readmit,
    RequestAuthority,
    Revoke,
    ServerIssued,
    Standing,
    Tenant,
    TenantPage,
    TokenMinted,
)
from collector.issuer.tenants import TenantRow
from runtime.clock import NS_PER_S


def mint_token(desk: Desk, request: MintToken, uid: int) -> TokenMinted:
    """Make a join token; only its hash is kept.

    Raises:
        IssuerRefused: too many tokens of this tenant wait to be used.
        IssuerUnready: the tenant cannot enrol hosts yet.
    """
    now_ns = desk.clock.wall_ns()
    desk.vault.tenant(request.tenant)
    trust = desk.vault.trust(request.tenant)
    secret = desk.random(SECRET_BYTES)
    expires_ns = now_ns + request.life_s * NS_PER_S
    with desk.store.transaction() as db:
        if tokens.count_open(db, request.tenant, now_ns) >= desk.settings.tokens_open_max:
            raise IssuerRefused(
                Refusal.LIMIT, "too many join tokens wait to be used", hint="let some expire"
            )
        tokens.mint(db, request.tenant, secret, range(now_ns, expires_ns))
        entry = audit.Entry(
            operation="mint_token",
            tenant=request.tenant,
            source=f"uid {uid}",
            detail=f"good for {request.life_s} s",
        )
        audit.append(db, entry, now_ns)
    token = JoinToken(
        tenant=request.tenant,
        secret=secret,
        root_der=trust.root_der,
        trust_sha256=trust.digest(),
        expires_ns=expires_ns,
    )
    return TokenMinted(token=token.encode(), expires_ns=expires_ns)


def list_agents(desk: Desk, request: ListAgents, _uid: int) -> AgentPage:
    """Return some of a tenant's agents.

    Raises:
        IssuerUnready: the database cannot be read.
    """
    with desk.store.reading() as db:
        return AgentPage(agents=agents.page(db, request.tenant, request.after, request.limit))


def revoke(desk: Desk, request: Revoke, uid: int) -> Standing:
    """Cut an agent off for ever; its key never comes back.

    Raises:
        IssuerRefused: there is no such agent.
    """
    now_ns = desk.clock.wall_ns()
    with desk.store.transaction() as db:
        agent = _find(db, request.peer)
        if agent.state is not State.REVOKED:
            agent = msgspec.structs.replace(agent, state=State.REVOKED, reason=request.reason)
            agent = agents.save(db, agent, now_ns)
            agents.add_revocation(db, agent, uid, now_ns)
            _did(db, "revoke", agent.identity, uid, now_ns)
    return Standing(agent=agent)


def readmit(desk: Desk, request: Readmit, uid: int) -> Standing:
    """Let a locked agent, or one that came back too often, come back by its signing key.

    Raises:
        IssuerRefused: there is no such agent, or it was cut off.
    """
    now_ns = desk.clock.wall_ns()
    with desk.store.transaction() as db:
        agent = _find(db, request.peer)
        if agent.state is State.REVOKED:
            raise IssuerRefused(Refusal.REVOKED, "an agent that was cut off never comes back")
        if agent.state is State.LOCKED:
            # None of the certificates out there counts: only the signing key speaks for the agent.
            agents.forget_certificates(db, agent.identity)
            agent = msgspec.structs.replace(
                agent, state=State.ACTIVE, reason="", current=b"", next=b"", generation_stated=0
            )
        agent = agents.save(db, msgspec.structs.replace(agent, recoveries=0), now_ns)
        _did(db, "readmit", agent.identity, uid, now_ns)
    return Standing(agent=agent)


def list_tenants(desk: Desk, request: ListTenants, _uid: int) -> TenantPage:
    """Return some tenants.

    Raises:
        IssuerUnready: the database or a tenant's files cannot be read.
    """
    with desk.store.reading() as db:
        rows = tenants.page(db, request.after, request.limit)
    return TenantPage(tenants=tuple(describe(desk, row) for row in rows))


def create_tenant(desk: Desk, request: CreateTenant, uid: int) -> AuthorityAsked:
    """Add a tenant and return the request that the offline root has to sign for it.

    Raises:
        IssuerRefused: there is a tenant of that id.
        IssuerUnready: its key cannot be written.
    """
    now_ns = desk.clock.wall_ns()
    tenant = request.tenant or new_tenant_id(desk)
    with desk.store.transaction() as db:
        if tenants.add(db, tenant, request.name, now_ns) is None:
            raise IssuerRefused(Refusal.TENANT, "there is a tenant of that id")
        entry = audit.Entry(
            operation="create_tenant", tenant=tenant, source=f"uid {uid}", detail=request.name
        )
        audit.append(db, entry, now_ns)
        return AuthorityAsked(owner=tenant, request=desk.vault.request(tenant))


def new_tenant_id(desk: Desk) -> TenantId:
    """Return a random id for a tenant."""
    return TenantId(uuid.UUID(bytes=desk.random(16), version=4).bytes)


def request_authority(desk: Desk, request: RequestAuthority, _uid: int) -> AuthorityAsked:
    """Return a request for the offline root to sign; the same one until it is installed.

    Raises:
        IssuerRefused: there is no such tenant.
        IssuerUnready: the key cannot be written.
    """
    _check_owner(desk, request.owner)
    return AuthorityAsked(owner=request.owner, request=desk.vault.request(request.owner))


def install_authority(desk: Desk, request: InstallAuthority, uid: int) -> Done:
    """Take over what the offline root signed.

    Raises:
        IssuerRefused: there is no such tenant, or the certificate is not for our key and root.
        IssuerUnready: it cannot be written.
    """
    _check_owner(desk, request.owner)
    desk.vault.install(request.owner, request.certificate_pem)
    _installed(desk, "install_authority", request.owner, uid)
    return Done()


def install_trust(desk: Desk, request: InstallTrust, uid: int) -> Done:
    """Take over what a tenant's hosts trust from now on.

    Raises:
        IssuerRefused: there is no such tenant, or the file is not the next one of this tenant.
        IssuerUnready: it cannot be written.
    """
    _check_owner(desk, request.tenant)
    desk.vault.install_trust(request.tenant, request.trust)
    _installed(desk, "install_trust", request.tenant, uid)
    return Done()


def issue_server(desk: Desk, request: IssueServer) -> ServerIssued:
    """Return a server certificate with the names of the settings.

    Raises:
        IssuerRefused: the request does not prove possession of a key.
        IssuerUnready: the collector's authority cannot issue.
    """
    now_ns = desk.clock.wall_ns()
    try:
        leaf = desk.vault.collector().issue(
            parse_request(request.csr), desk.settings.server_names, now_ns
        )
    except RequestRefused as error:
        raise IssuerRefused(Refusal.REQUEST, error.message) from error
    except AuthorityUnusable as error:
        raise IssuerUnready(error.message, hint=error.hint) from error
    with desk.store.transaction() as db:
        entry = audit.Entry(operation="issue_server", detail=", ".join(desk.settings.server_names))
        audit.append(db, entry, now_ns)
    return ServerIssued(chain_pem=leaf.chain_pem, not_after_ns=leaf.not_after_ns)


def read_audit(desk: Desk, request: ReadAudit, _uid: int) -> AuditPage:
    """Return some lines of the audit.

    Raises:
        IssuerUnready: the database cannot be read.
    """
    with desk.store.reading() as db:
        return AuditPage(lines=audit.read(db, request.after, request.limit))


def describe(desk: Desk, row: TenantRow) -> Tenant:
    """Return a tenant with what its files say; one that is not set up yet has none.

    Raises:
        IssuerUnready: a file is there and is no good.
    """
    authorities: tuple[bytes, ...] = ()
    not_after_ns = 0
    if desk.vault.has_authority(row.tenant):
        authorities = desk.vault.certificates(row.tenant)
        not_after_ns = desk.vault.tenant(row.tenant).not_after_ns
    has_trust = desk.vault.has_trust(row.tenant)
    return Tenant(
        tenant=row.tenant,
        name=row.name,
        created_ns=row.created_ns,
        authorities_pem=authorities,
        authority_not_after_ns=not_after_ns,
        trust_sha256=desk.vault.trust(row.tenant).digest() if has_trust else b"",
        revision=row.revision,
    )


def _check_owner(desk: Desk, owner: TenantId | None) -> None:
    if owner is None:
        return
    with desk.store.reading() as db:
        if not tenants.exists(db, owner):
            raise IssuerRefused(Refusal.TENANT, "there is no tenant of that id")


def _installed(desk: Desk, operation: str, owner: TenantId | None, uid: int) -> None:
    with desk.store.transaction() as db:
        if owner is not None:
            tenants.touch(db, owner)
        entry = audit.Entry(operation=operation, tenant=owner, source=f"uid {uid}")
        audit.append(db, entry, desk.clock.wall_ns())


def _find(db: sqlite3.Connection, identity: PeerIdentity) -> Agent:
    agent = agents.find(db, identity)
    if agent is None:
        raise IssuerRefused(Refusal.AGENT, "there is no such agent")
    return agent


def _did(
    db: sqlite3.Connection, operation: str, identity: PeerIdentity, uid: int, now_ns: int
) -> None:
    entry = audit.Entry(operation=operation, source=f"uid {uid}")
    audit.append(db, entry.about(identity), now_ns)
