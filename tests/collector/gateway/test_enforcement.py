"""The order of the enforcement point, rule by rule, without a network."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from msgspec import structs

from certs.identity import PeerIdentity
from certs.leaf import PeerReader
from collector.errors import AccessDenied, Denial
from collector.gateway.enforcement import Enforcement, check_transport
from collector.gateway.quota import Places
from collector.gateway.registry import Registry
from collector.issuer.agents import Agent, State, serial_bytes
from collector.issuer.errors import Refusal
from collector.issuer.messages import Activate
from runtime.clock import NS_PER_S
from tests.certs.builders import (
    DOMAIN,
    Odd,
    a_leaf,
    a_pki,
    a_tenant_authority,
    sign_odd,
    subject_of,
)
from tests.collector.sealing import OTHER_TENANT, TENANT, AnAgent
from tests.fakes.clock import FakeClock
from tests.fakes.issuer import FakeIssuer

NOW_NS = time.time_ns()
PKI = a_pki(NOW_NS, TENANT)
AGENT = AnAgent()
IDENTITY = PeerIdentity(TENANT, AGENT.id)
KEY, LEAF = a_leaf(PKI.tenant, NOW_NS, IDENTITY)
CURRENT = serial_bytes(LEAF.serial)


def first_pem(chain: bytes) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return chain[: chain.index(end) + len(end)]


class FakeCall:
    """A call as TLS knows it."""

    def __init__(self, pem: bytes | None = first_pem(LEAF.chain_pem), **changes: bytes) -> None:
        context = {"ssl_tls_version": b"TLSv1.3", "ssl_session_reused": b"false"} | changes
        self._context = {name: [value] for name, value in context.items() if value}
        if pem is not None:
            self._context["x509_pem_cert"] = [pem]

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._context


class Post:
    """An enforcement point with one agent."""

    def __init__(self, **changes: object) -> None:
        self.clock = FakeClock()
        self.clock.wall = NOW_NS
        self.issuer = FakeIssuer()
        self.issuer.trust(PKI.tenant)
        self.registry = Registry(self.clock, 60)
        self.registry.level()
        row = Agent(
            identity=IDENTITY,
            signing_key=AGENT.key.public.raw,
            host_name="host",
            enrolled_ns=1,
            changed_ns=1,
            current=CURRENT,
        )
        self.change(row, **changes)
        reader = PeerReader(DOMAIN, PKI.root.certificate_pem)
        reader.trust(TENANT, PKI.tenant.certificate_pem)
        self.point = Enforcement(
            reader,
            self.registry,
            self.issuer,
            agent_places=Places("calls", 2),
            tenant_places=Places("calls", 3),
            clock=self.clock,
        )

    def change(self, row: Agent | None = None, **changes: object) -> None:
        row = row or self.issuer.row(IDENTITY)
        self.registry.apply((self.issuer.put(structs.replace(row, **changes)),))

    async def denied(self, call: FakeCall | None = None) -> Denial:
        with pytest.raises(AccessDenied) as caught:
            async with self.point.enter(call or FakeCall()):
                pass
        return caught.value.denial


async def test_an_enrolled_agent_is_let_in_as_who_its_certificate_says() -> None:
    post = Post()

    async with post.point.enter(FakeCall()) as session:
        session.check()

    assert session.identity == IDENTITY
    assert session.key == AGENT.key.public
    assert session.serial == CURRENT


@pytest.mark.parametrize(
    "changes",
    [
        {"ssl_tls_version": b"TLSv1.2"},
        {"ssl_tls_version": b""},
        {"ssl_session_reused": b"true"},
        {"ssl_session_reused": b""},
    ],
)
async def test_another_transport_than_a_full_tls_13_handshake_is_denied(
    changes: dict[str, bytes],
) -> None:
    post = Post()

    assert await post.denied(FakeCall(**changes)) is Denial.TRANSPORT
    with pytest.raises(AccessDenied):
        post.point.enter_open(FakeCall(None, **changes))
    with pytest.raises(AccessDenied):
        check_transport({})


def test_who_has_no_certificate_may_join_and_no_more() -> None:
    Post().point.enter_open(FakeCall(None))


async def test_no_certificate_is_no_identity() -> None:
    assert await Post().denied(FakeCall(None)) is Denial.IDENTITY


@pytest.mark.parametrize(
    "odd",
    [
        Odd(uris=(f"spiffe://{TENANT}.{DOMAIN}/agent/{AGENT.id}",) * 2),
        Odd(uris=(f"spiffe://{TENANT}.{DOMAIN}/agent/{AGENT.id}/",)),
        Odd(uris=(f"spiffe://{OTHER_TENANT}.{DOMAIN}/agent/{AGENT.id}",)),
        Odd(uris=(f"spiffe://{TENANT}.other.example/agent/{AGENT.id}",)),
        Odd(uris=()),
    ],
    ids=["two names", "a slash more", "another tenant", "another domain", "no name"],
)
async def test_an_odd_name_is_no_identity_even_where_tls_lets_it_pass(odd: Odd) -> None:
    issuer = subject_of(PKI.tenant.certificate_pem)
    pem = sign_odd(odd, PKI.tenant_key, issuer, NOW_NS)

    assert await Post().denied(FakeCall(pem)) is Denial.IDENTITY


async def test_the_authority_of_another_tenant_names_nobody_here() -> None:
    other = a_tenant_authority(PKI.root, OTHER_TENANT, NOW_NS)
    _, leaf = a_leaf(other, NOW_NS, PeerIdentity(OTHER_TENANT, AGENT.id))

    assert await Post().denied(FakeCall(first_pem(leaf.chain_pem))) is Denial.IDENTITY


async def test_an_agent_nobody_enrolled_is_denied() -> None:
    _, leaf = a_leaf(PKI.tenant, NOW_NS, PeerIdentity(TENANT, AnAgent(1).id))

    assert await Post().denied(FakeCall(first_pem(leaf.chain_pem))) is Denial.UNKNOWN_AGENT


@pytest.mark.parametrize("state", [State.REVOKED, State.LOCKED])
async def test_an_agent_that_is_no_longer_welcome_is_denied(state: State) -> None:
    assert await Post(state=state).denied() is Denial.REVOKED


async def test_a_certificate_that_was_replaced_is_denied() -> None:
    assert await Post(current=b"x" * 20, next=b"y" * 20).denied() is Denial.SERIAL


async def test_a_certificate_counts_only_while_it_holds() -> None:
    post = Post()
    post.clock.wall = LEAF.not_after_ns
    late = await post.denied()
    post.clock.wall = LEAF.not_before_ns - NS_PER_S

    assert (late, await post.denied()) == (Denial.EXPIRED, Denial.EXPIRED)


async def test_nobody_is_let_in_when_revocations_may_have_been_missed() -> None:
    post = Post()
    post.clock.forward(61)

    assert await post.denied() is Denial.STALE_REGISTRY


async def test_open_calls_are_limited_and_a_place_comes_back() -> None:
    post = Post()

    async with post.point.enter(FakeCall()), post.point.enter(FakeCall()):
        assert await post.denied() is Denial.QUOTA
    async with post.point.enter(FakeCall()):
        pass


async def test_the_first_use_of_a_new_certificate_ends_the_old_one() -> None:
    post = Post(current=b"x" * 20, next=CURRENT)

    async with post.point.enter(FakeCall()):
        pass
    async with post.point.enter(FakeCall()):
        pass

    assert [type(one) for one in post.issuer.asked] == [Activate]
    row = post.registry.find(IDENTITY)
    assert row is not None
    assert row.serials == {CURRENT}


async def test_an_issuer_that_is_away_keeps_nobody_out_who_may_come() -> None:
    post = Post(current=b"x" * 20, next=CURRENT)
    post.issuer.is_down = True

    async with post.point.enter(FakeCall()) as session:
        assert session.identity == IDENTITY

    post.issuer.is_down = False
    post.issuer.refuses = Refusal.SERIAL
    assert await post.denied() is Denial.SERIAL


@pytest.mark.parametrize(
    ("changes", "denial"),
    [
        ({"state": State.REVOKED}, Denial.REVOKED),
        ({"current": b"n" * 20}, Denial.SERIAL),
    ],
)
async def test_an_open_session_is_asked_again_when_something_changed(
    changes: dict[str, Any], denial: Denial
) -> None:
    post = Post()

    async with post.point.enter(FakeCall()) as session:
        session.check()
        post.change(**changes)
        assert session.changed.is_set()
        with pytest.raises(AccessDenied) as caught:
            session.check()

    assert caught.value.denial is denial


async def test_an_open_session_ends_with_its_certificate_or_with_a_stale_registry() -> None:
    post = Post()

    async with post.point.enter(FakeCall()) as session:
        assert session.life_s > 3600
        post.clock.wall = LEAF.not_after_ns
        with pytest.raises(AccessDenied) as expired:
            session.check()
        post.clock.wall = NOW_NS
        post.clock.forward(61)
        with pytest.raises(AccessDenied) as stale:
            session.check()

    assert expired.value.denial is Denial.EXPIRED
    assert stale.value.denial is Denial.STALE_REGISTRY
