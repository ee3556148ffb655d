"""The batch stream over real TLS: what an agent sends, and what it is told."""

import asyncio
import hashlib
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
from msgspec import structs

from certs.identity import TenantId, agent_id_of
from collector.gateway.settings import GatewaySettings, StreamSettings, TrustFeedSettings
from collector.gateway.stream import HEADS_MAX, Intake
from collector.issuer.agents import State
from collector.ledger.chain import Verdict
from collector.ledger.ports import Outcome, SealedBatch
from proto.model import EpochReason, EpochStart
from tests.collector.gateway.edge import PUSH, Edge, Opening, Pushing, a_domain, an_edge
from tests.collector.ledger.world import World, a_record
from tests.collector.sealing import TENANT, signed

PKI = a_domain()


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with an_edge(tmp_path, PKI) as edge:
        yield edge


async def test_a_batch_is_receipted_after_it_is_in_the_ledger(edge: Edge) -> None:
    host = edge.host()
    batch = host.agent.seal([b"x"])

    async with host.pushing() as pushing:
        await pushing.send(batch)
        receipt = await pushing.receipt(1)

    assert receipt.header_hash == batch.header_hash
    assert receipt.agent == agent_id_of(host.agent.key.public.raw).bytes
    assert receipt.ledger_generation == edge.ledger.generation(TENANT)
    assert [one.header_hash for one in edge.ledger.read(TENANT, 0, 9, 1)] == [batch.header_hash]


async def test_a_newcomer_is_greeted_at_once(edge: Edge) -> None:
    async with edge.host().pushing() as pushing:
        assert (await pushing.reply()).WhichOneof("kind") == "hint"


async def test_an_agent_that_comes_back_is_told_where_to_go_on(edge: Edge) -> None:
    host = edge.host()
    first, second = host.agent.seal(), host.agent.seal()
    async with host.pushing() as pushing:
        await pushing.send(first, second)
        await pushing.receipt(2)

    async with host.pushing() as pushing:
        kinds = [(await pushing.reply()) for _ in range(2)]

    assert [reply.WhichOneof("kind") for reply in kinds] == ["receipt", "resume"]
    assert (kinds[1].resume.epoch, kinds[1].resume.seq) == (host.agent.epoch, 3)


async def test_a_batch_sent_again_is_receipted_and_kept_once(edge: Edge) -> None:
    host = edge.host()
    batch = host.agent.seal()

    async with host.pushing() as pushing:
        await pushing.send(batch)
        first = await pushing.receipt(1)
        await pushing.send(batch)
        again = await pushing.receipt(1)

    assert (first.seq, first.header_hash) == (again.seq, again.header_hash)
    assert len(edge.ledger.read(TENANT, 0, 9, 1 << 20)) == 1


async def test_batches_that_wait_together_are_receipted_together(edge: Edge) -> None:
    host = edge.host()
    append = edge.ledger.append

    def slow(tenant: TenantId, batches: Sequence[SealedBatch]) -> Sequence[Outcome]:
        time.sleep(0.05)
        return append(tenant, batches)

    edge.ledger.append = slow  # type: ignore[method-assign]
    async with host.pushing() as pushing:
        await pushing.send(*[host.agent.seal() for _ in range(40)])
        receipt = await pushing.receipt(40)

    assert receipt.seq == 40
    assert edge.gateway.counts.receipts <= edge.gateway.counts.commits < 20


async def test_a_hole_is_durable_and_named_and_the_resume_asks_for_it(edge: Edge) -> None:
    host = edge.host()
    first, _, third = (host.agent.seal() for _ in range(3))

    async with host.pushing() as pushing:
        await pushing.send(first, third)
        receipt = await pushing.receipt(3)
    async with host.pushing() as pushing:
        replies = await pushing.replies_until(lambda r: r.WhichOneof("kind") == "resume")

    assert receipt.seq == 1
    assert [one.seq for one in receipt.ahead] == [3]
    assert replies[-1].resume.seq == 2


async def test_the_evidence_of_a_fork_is_receipted_without_the_chain(edge: Edge) -> None:
    host = edge.host()
    twin = host.agent.twin()
    mine, theirs = host.agent.seal([b"a"]), twin.seal([b"b"])

    async with host.pushing() as pushing:
        await pushing.send(mine)
        await pushing.receipt(1)
        await pushing.send(theirs)
        receipt = await pushing.receipt(1)

    assert receipt.seq == 0
    assert [one.header_hash for one in receipt.ahead] == [theirs.header_hash]
    assert edge.gateway.counts.verdicts[Verdict.FORK] == 1


async def test_what_lies_inside_its_body_is_kept_as_evidence_and_refused_by_admit(
    edge: Edge,
) -> None:
    liar, bomber, honest = edge.host("liar"), edge.host("bomber"), edge.host("honest")
    bomb = zlib.compress(bytes(100_000_000), 9)
    bombing = structs.replace(
        bomber.agent.seal().header,
        body_sha256=hashlib.sha256(bomb).digest(),
        body_bytes=len(bomb),
        raw_bytes=1000,
    )
    batches = {
        liar: liar.agent.seal([a_record()], root=b"r" * 32),
        bomber: signed(bombing, bomb, bomber.agent.key),
        honest: honest.agent.seal([a_record()]),
    }

    for host, batch in batches.items():
        async with host.pushing() as pushing:
            await pushing.send(batch)
            assert (await pushing.receipt(1)).header_hash == batch.header_hash
    world = World(edge.root)
    world.admit_all()

    assert world.log.reader.refused() == 2
    assert [host for host in batches if world.reader.is_quarantined(host.agent.id.bytes, 99)] == [
        liar,
        bomber,
    ]
    assert [batch.agent for batch in world.admitted.read(0, 9)] == [honest.agent.id]
    world.close()


async def test_a_rollback_and_a_lost_memory_are_kept_and_counted(edge: Edge) -> None:
    host = edge.host()
    batch = host.agent.seal()
    lost = host.agent.twin()
    lost.start(EpochStart(reason=EpochReason.STATE_LOSS))

    async with host.pushing() as pushing:
        await pushing.send(batch, lost.seal())
        while edge.gateway.counts.verdicts.total() < 2:
            await pushing.reply()

    assert edge.gateway.counts.verdicts[Verdict.STATE_LOSS] == 1
    assert len(edge.ledger.read(TENANT, 0, 9, 1 << 20)) == 2


async def test_a_refusal_stands_behind_the_answers_to_what_came_before(edge: Edge) -> None:
    host = edge.host()
    good = [host.agent.seal() for _ in range(5)]
    bad = host.agent.twin().seal(body_sha256=b"x" * 32)

    async with host.pushing() as pushing:
        await pushing.send(*good, bad)
        replies = await pushing.replies_until(lambda r: r.WhichOneof("kind") == "refused")

    assert replies[-1].refused.header_hash == bad.header_hash
    receipts = [reply for reply in replies if reply.WhichOneof("kind") == "receipt"]
    assert receipts
    assert edge.gateway.counts.verdicts[Verdict.ACCEPT] == 5


async def test_a_revoked_agent_is_cut_off_with_a_status_within_two_seconds(edge: Edge) -> None:
    host, other = edge.host(0), edge.host(1)

    async with host.pushing() as pushing, other.pushing() as staying:
        await pushing.reply()
        await staying.reply()
        started = time.monotonic()
        edge.issuer.set_state(host.identity, State.REVOKED)
        status = await pushing.status()
        took = time.monotonic() - started
        await staying.send(other.agent.seal())
        assert (await staying.receipt(1)).seq == 1

    assert status[0] is grpc.StatusCode.PERMISSION_DENIED
    assert took < 2


async def test_many_open_streams_are_cut_at_once_and_none_hangs(edge: Edge) -> None:
    hosts = [edge.host(seed) for seed in range(40)]
    streams = [host.pushing() for host in hosts]
    open_streams = [await stream.__aenter__() for stream in streams]
    await asyncio.gather(*(one.reply() for one in open_streams))

    started = time.monotonic()
    for host in hosts:
        edge.issuer.set_state(host.identity, State.LOCKED)
    statuses = await asyncio.gather(*(one.status() for one in open_streams))
    took = time.monotonic() - started

    assert {code for code, _ in statuses} == {grpc.StatusCode.PERMISSION_DENIED}
    assert took < 2
    assert edge.gateway.counts.streams_open == 0
    for stream in streams:
        await stream.__aexit__(None, None, None)


async def test_every_message_is_asked_again_whether_its_sender_may_still_be_here(
    tmp_path: Path,
) -> None:
    """Nothing wakes a quiet stream when the registry grows stale, but nothing is taken either."""
    trust = TrustFeedSettings(watch_wait_s=0.05, stale_s_max=0.2)
    async with an_edge(tmp_path, PKI, GatewaySettings(trust=trust)) as edge:
        host = edge.host()
        async with host.pushing() as pushing:
            await pushing.send(host.agent.seal())
            await pushing.receipt(1)
            edge.issuer.is_down = True
            await asyncio.sleep(0.5)
            await pushing.send(host.agent.seal())
            code, _ = await pushing.status()
        edge.issuer.is_down = False
        kept = len(edge.ledger.read(TENANT, 0, 9, 1 << 20))

    assert code is grpc.StatusCode.UNAVAILABLE
    assert kept == 1


async def test_what_was_sent_before_the_end_is_answered_before_the_end(edge: Edge) -> None:
    host = edge.host()

    async with host.pushing() as pushing:
        await pushing.send(*[host.agent.seal() for _ in range(10)])
        await pushing.call.done_writing()
        receipt = await pushing.receipt(10)
        status = await pushing.status()

    assert receipt.seq == 10
    assert status[0] is grpc.StatusCode.OK


async def test_nothing_but_rubbish_ends_the_stream(tmp_path: Path) -> None:
    settings = GatewaySettings(stream=StreamSettings(refusals_per_stream_max=3))
    async with an_edge(tmp_path, PKI, settings) as edge, edge.host().pushing() as pushing:
        for _ in range(4):
            await pushing.call.write(b"\xff\xff\xff")
        status = await pushing.status()

    assert status[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_agent_beyond_its_rate_is_slowed_down_and_loses_nothing(tmp_path: Path) -> None:
    limits = StreamSettings(agent_batches_per_s_max=20, agent_batches_burst_max=1)
    async with an_edge(tmp_path, PKI, GatewaySettings(stream=limits)) as edge:
        host = edge.host()
        async with host.pushing() as pushing:
            started = time.monotonic()
            await pushing.send(*[host.agent.seal() for _ in range(11)])
            receipt = await pushing.receipt(11)
            took = time.monotonic() - started

    assert receipt.seq == 11
    assert took > 0.4


async def test_a_new_stream_ends_the_oldest_of_its_agent_and_nobody_elses(edge: Edge) -> None:
    host, other = edge.host(0), edge.host(1)

    async with host.pushing() as first, other.pushing() as theirs:
        await asyncio.gather(first.reply(), theirs.reply())
        async with host.pushing() as second, host.pushing() as third:
            await asyncio.gather(second.reply(), third.reply())
            code, _ = await first.status()
            await third.send(host.agent.seal())
            receipt = await third.receipt(1)
            await theirs.send(other.agent.seal())
            await theirs.receipt(1)

    assert code is grpc.StatusCode.OK
    assert receipt.seq == 1
    assert HEADS_MAX < 16
    assert Intake.push.__doc__


async def test_an_agent_has_no_more_calls_than_it_may(tmp_path: Path) -> None:
    limits = StreamSettings(calls_per_agent_max=1)
    async with an_edge(tmp_path, PKI, GatewaySettings(stream=limits)) as edge:
        host = edge.host()
        async with host.pushing() as first:
            await first.reply()
            async with host.pushing() as second:
                status = await second.status()
        async with host.pushing() as third:
            await third.reply()

    assert status[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_client_that_vanishes_leaves_nothing_behind(edge: Edge) -> None:
    host = edge.host()
    channel = host.channel()
    opening: Opening = channel.stream_stream(PUSH)
    pushing = Pushing(opening())
    await pushing.send(*[host.agent.seal([bytes(1000)]) for _ in range(30)])
    await pushing.reply()

    await channel.close(None)
    for _ in range(100):
        await asyncio.sleep(0.02)
        if not edge.gateway.counts.streams_open:
            break

    assert edge.gateway.counts.streams_open == 0
