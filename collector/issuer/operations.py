"""Who may ask what: one literal table from each kind of request to its operation.

A gateway asks what agents need; an administrator may ask everything. What is not in the table is
refused. Refusals are written to the audit, in a transaction of their own.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from certs.identity import PeerIdentity
from collector.issuer import administer, audit, certify, messages, watching
from collector.issuer.desk import Desk
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.messages import Reply, Request

# Behind these stands somebody without a certificate, so their rate is capped.
OPEN: frozenset[type] = frozenset({messages.Begin, messages.Enroll, messages.Reattest})

# These change nothing, so nobody who watches for changes is woken by them.
READING: frozenset[type] = frozenset(
    {
        messages.Begin,
        messages.Challenge,
        messages.Watch,
        messages.ListAgents,
        messages.ListTenants,
        messages.RequestAuthority,
        messages.ReadAudit,
    }
)

# Asking for a nonce leaves no trace; neither does looking.
_AUDITED: frozenset[type] = frozenset(
    {
        messages.Enroll,
        messages.Reattest,
        messages.Renew,
        messages.IssueServer,
        messages.MintToken,
        messages.Revoke,
        messages.Readmit,
        messages.CreateTenant,
        messages.InstallAuthority,
        messages.InstallTrust,
    }
)

_FOR_GATEWAYS: Mapping[type, Callable[[Desk, Any], Reply]] = {
    messages.Begin: certify.begin,
    messages.Challenge: certify.challenge,
    messages.Enroll: certify.enroll,
    messages.Reattest: certify.reattest,
    messages.Renew: certify.renew,
    messages.Activate: certify.activate,
    messages.Watch: watching.watch,
    messages.IssueServer: administer.issue_server,
}

_FOR_ADMINS: Mapping[type, Callable[[Desk, Any, int], Reply]] = {
    messages.MintToken: administer.mint_token,
    messages.ListAgents: administer.list_agents,
    messages.Revoke: administer.revoke,
    messages.Readmit: administer.readmit,
    messages.ListTenants: administer.list_tenants,
    messages.CreateTenant: administer.create_tenant,
    messages.RequestAuthority: administer.request_authority,
    messages.InstallAuthority: administer.install_authority,
    messages.InstallTrust: administer.install_trust,
    messages.ReadAudit: administer.read_audit,
}


class Role(enum.Enum):
    """What a process on this machine may ask."""

    GATEWAY = "gateway"
    ADMIN = "admin"


class Caller(msgspec.Struct, frozen=True):
    """The process at the other end of the socket, as the kernel names it."""

    uid: int
    roles: frozenset[Role]


def perform(desk: Desk, request: Request, caller: Caller) -> Reply:
    """Do what was asked, if this caller may ask it.

    Raises:
        IssuerRefused: the caller may not, or a rule is broken.
        IssuerBusy: a limit is reached.
        IssuerUnready: the issuer's own material is not usable.
    """
    try:
        return _perform(desk, request, caller)
    except IssuerRefused as error:
        if type(request) in _AUDITED or error.reason is Refusal.CALLER:
            _write_down(desk, request, caller, error)
        raise


def _perform(desk: Desk, request: Request, caller: Caller) -> Reply:
    kind = type(request)
    if kind in _FOR_GATEWAYS and caller.roles:
        return _FOR_GATEWAYS[kind](desk, request)
    if kind in _FOR_ADMINS and Role.ADMIN in caller.roles:
        return _FOR_ADMINS[kind](desk, request, caller.uid)
    raise IssuerRefused(
        Refusal.CALLER,
        f"user {caller.uid} may not ask the issuer for this",
        hint="run as the collector's user, or name the user in the issuer's settings",
    )


def _write_down(desk: Desk, request: Request, caller: Caller, error: IssuerRefused) -> None:
    peer = getattr(request, "peer", None)
    entry = audit.Entry(
        operation=str(request.__struct_config__.tag),
        outcome=error.reason.value,
        tenant=getattr(request, "tenant", None),
        source=getattr(request, "source", "") or f"uid {caller.uid}",
        detail=error.message,
    )
    if isinstance(peer, PeerIdentity):
        entry = entry.about(peer)
    with desk.store.transaction() as db:
        audit.append(db, entry, desk.clock.wall_ns())
