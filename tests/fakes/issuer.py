"""An issuer in memory: it watches, activates and revokes as the real one, and signs anything.

It checks no proofs: tests of the gateway only need to see what reaches it.
"""

import asyncio
import contextlib
from typing import TypeVar

from msgspec import structs

from certs.authority import TenantAuthority
from certs.identity import PeerIdentity, TenantId
from certs.request import parse_request
from collector.errors import IssuerUnavailable
from collector.issuer.agents import Agent, State, serial_bytes
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.messages import (
    Activate,
    Begin,
    Begun,
    Challenge,
    Changes,
    Enroll,
    Issued,
    Reattest,
    Renew,
    Reply,
    Request,
    Standing,
    Tenant,
    Watch,
)

R = TypeVar("R", bound=Reply)


class FakeIssuer:
    """Implements `collector.gateway.follow.Issuer`."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.is_down = False
        self.refuses: Refusal | None = None
        self.authorities: dict[TenantId, TenantAuthority] = {}
        self.now_ns = 0
        self._agents: dict[PeerIdentity, Agent] = {}
        self._tenants: list[Tenant] = []
        self._revision = 0
        self._changed = asyncio.Event()

    async def call(self, request: Request, expected: type[R], deadline_s: float = 15.0) -> R:
        self.asked.append(request)
        reply = await self._answer(request)
        assert isinstance(reply, expected)
        return reply

    async def _answer(self, request: Request) -> Reply:
        if self.is_down:
            raise IssuerUnavailable("the issuer does not answer")
        if self.refuses is not None and not isinstance(request, Watch):
            raise IssuerRefused(self.refuses, "no")
        match request:
            case Watch(after=after, wait_s=wait_s):
                return await self._watch(after, wait_s)
            case Activate(peer=peer, serial=serial):
                return Standing(agent=self._activate(peer, serial))
            case Begin() | Challenge():
                return Begun(nonce=b"n" * 32, trust=b"{}")
            case Renew(peer=peer):
                return self.issue(peer, request.csr)
            case Enroll() | Reattest():
                return self.issue(next(iter(self._agents)), request.csr)
            case _:
                raise AssertionError(request)

    def trust(self, authority: TenantAuthority) -> None:
        self.authorities[authority.tenant] = authority
        self._tenants.append(
            Tenant(
                tenant=authority.tenant,
                name="tenant",
                created_ns=1,
                authorities_pem=(authority.certificate_pem,),
                authority_not_after_ns=authority.not_after_ns,
                trust_sha256=b"",
                revision=self._next(),
            )
        )

    def put(self, agent: Agent) -> Agent:
        saved = structs.replace(agent, revision=self._next())
        self._agents[agent.identity] = saved
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return saved

    def row(self, identity: PeerIdentity) -> Agent:
        return self._agents[identity]

    def set_state(self, identity: PeerIdentity, state: State) -> None:
        self.put(structs.replace(self._agents[identity], state=state))

    def issue(self, identity: PeerIdentity, csr: bytes) -> Issued:
        authority = self.authorities[identity.tenant]
        leaf = authority.issue(parse_request(csr), identity, self.now_ns)
        serial = serial_bytes(leaf.serial)
        agent = self.put(structs.replace(self._agents[identity], next=serial))
        return Issued(
            chain_pem=leaf.chain_pem,
            serial=serial,
            not_after_ns=leaf.not_after_ns,
            generation=2,
            agent=agent,
        )

    def _activate(self, peer: PeerIdentity, serial: bytes) -> Agent:
        agent = self._agents[peer]
        if serial == agent.next:
            return self.put(structs.replace(agent, current=serial, next=b""))
        if serial != agent.current:
            raise IssuerRefused(Refusal.SERIAL, "superseded")
        return agent

    async def _watch(self, after: int, wait_s: float) -> Changes:
        if after >= self._revision and wait_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_s)
        return Changes(
            revision=self._revision,
            agents=tuple(one for one in self._agents.values() if one.revision > after),
            tenants=tuple(one for one in self._tenants if one.revision > after),
            more=False,
        )

    def _next(self) -> int:
        self._revision += 1
        return self._revision
