import asyncio
from random import Random

import pytest

from certs.leaf import PeerReader
from collector.errors import IssuerUnavailable
from collector.gateway.follow import Follower
from collector.gateway.registry import Registry
from collector.gateway.settings import TrustFeedSettings
from collector.issuer.agents import State
from collector.issuer.messages import Tenant
from runtime.backoff import Backoff
from tests.certs.builders import DOMAIN
from tests.collector.gateway.edge import a_domain
from tests.collector.gateway.test_registry import IDENTITY, ROW
from tests.collector.sealing import TENANT
from tests.fakes.clock import FakeClock
from tests.fakes.issuer import FakeIssuer

PKI = a_domain()


class Post:
    """A follower between a fake issuer and a registry."""

    def __init__(self) -> None:
        self.issuer = FakeIssuer()
        self.clock = FakeClock()
        self.registry = Registry(self.clock, 60)
        self.reader = PeerReader(DOMAIN, PKI.root.certificate_pem)
        backoff = Backoff(wait_s_first=0.01, wait_s_max=0.02, random=Random(0).random)
        settings = TrustFeedSettings(watch_wait_s=0.05)
        self.follower = Follower(self.issuer, self.registry, self.reader, settings, backoff)


async def test_everything_is_known_after_catching_up() -> None:
    post = Post()
    post.issuer.trust(PKI.tenant)
    post.issuer.put(ROW)

    await post.follower.catch_up()

    assert post.registry.find(IDENTITY) is not None
    assert not post.registry.is_stale


async def test_a_revocation_is_known_long_before_the_next_question_is_due() -> None:
    post = Post()
    post.issuer.put(ROW)
    await post.follower.catch_up()
    task = asyncio.get_running_loop().create_task(post.follower.run())
    await asyncio.sleep(0.01)

    with post.registry.watching(IDENTITY) as watched:
        post.issuer.set_state(IDENTITY, State.REVOKED)
        await asyncio.wait_for(watched.changed.wait(), 2)

    row = post.registry.find(IDENTITY)
    task.cancel()
    assert row is not None
    assert row.state is State.REVOKED


async def test_an_issuer_that_is_away_is_asked_again_and_the_copy_grows_old() -> None:
    post = Post()
    await post.follower.catch_up()
    post.issuer.is_down = True
    task = asyncio.get_running_loop().create_task(post.follower.run())
    post.clock.forward(61)
    await asyncio.sleep(0.1)
    stale = post.registry.is_stale

    post.issuer.is_down = False
    await asyncio.sleep(0.2)
    task.cancel()

    assert stale
    assert not post.registry.is_stale


async def test_nobody_is_let_in_while_the_issuer_was_never_heard() -> None:
    post = Post()
    post.issuer.is_down = True

    with pytest.raises(IssuerUnavailable):
        await post.follower.catch_up()
    assert post.registry.is_stale


async def test_an_authority_that_is_none_is_passed_over_and_the_others_count() -> None:
    post = Post()
    bad = Tenant(
        tenant=TENANT,
        name="bad",
        created_ns=1,
        authorities_pem=(b"rubbish",),
        authority_not_after_ns=1,
        trust_sha256=b"",
        revision=1,
    )
    post.issuer._tenants.append(bad)  # noqa: SLF001  (no honest issuer has one)
    post.issuer.put(ROW)

    await post.follower.catch_up()

    assert post.registry.find(IDENTITY) is not None
