from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from collector.errors import LedgerUnavailable, NotLogged
from collector.gateway.enforcement import Session
from collector.gateway.logbook import LogService
from collector.gateway.states import LedgerStates
from proto.envelope import PayloadType
from proto.errors import ProofRejected
from proto.merkle import verify_consistency, verify_inclusion
from proto.note import NoteKey
from proto.tlog import log_leaf, open_checkpoint
from proto.vedette.v1 import service_pb2
from tests.collector.gateway.test_enforcement import FakeCall, Post
from tests.collector.ledger.world import LOG_KEY, World
from tests.collector.sealing import AnAgent

MINE, OTHERS = AnAgent(), AnAgent(1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with Post().point.enter(FakeCall()) as session:
        yield session


@pytest.fixture
def service(world: World) -> LogService:
    return LogService(LedgerStates(world.ledger, world.files), world.ledger)


def proof(header_hash: bytes, size: int = 0) -> bytes:
    return service_pb2.ProofRequest(header_hash=header_hash, size=size).SerializeToString()


async def test_an_agent_can_prove_where_its_own_batch_stands(
    world: World, service: LogService, session: Session
) -> None:
    other, batch = OTHERS.twin().seal(), MINE.twin().seal()
    world.append(other, batch)
    world.admit_all()
    world.admitter.sign()

    answer = service_pb2.ProofResponse.FromString(
        await service.proof(session, proof(batch.header_hash))
    )

    checkpoint = open_checkpoint(answer.checkpoint, [NoteKey(world.origin, LOG_KEY.public)])
    leaf = log_leaf(PayloadType.BATCH, batch.header_bytes, batch.signature)
    verify_inclusion(leaf, answer.index, tuple(answer.hashes), checkpoint.head)


async def test_another_agents_batch_is_not_found(
    world: World, service: LogService, session: Session
) -> None:
    other = OTHERS.twin().seal()
    world.append(other)
    world.admit_all()
    world.admitter.sign()

    for header_hash in (other.header_hash, b"x" * 32, b""):
        with pytest.raises(NotLogged) as caught:
            await service.proof(session, proof(header_hash))
        assert caught.value.message == "the log has no such batch"


async def test_the_newest_checkpoint_is_told_and_an_empty_one_before_the_first(
    world: World, service: LogService, session: Session
) -> None:
    before = await service.checkpoint(session)
    world.append(MINE.twin().seal())
    world.admit_all()
    note = world.admitter.sign()

    answer = service_pb2.CheckpointResponse.FromString(await service.checkpoint(session))

    assert before == b""
    assert answer.checkpoint == note


async def test_growth_is_proven_between_any_two_sizes(
    world: World, service: LogService, session: Session
) -> None:
    agent = MINE.twin()
    world.append(*[agent.seal() for _ in range(5)])
    world.admit_all()
    request = service_pb2.ConsistencyRequest(first=3, second=5).SerializeToString()

    answer = service_pb2.ConsistencyResponse.FromString(await service.consistency(session, request))

    log = world.log.reader
    verify_consistency(log.head_at(3), log.head_at(5), tuple(answer.hashes))
    for first, second, error in ((0, 5, ProofRejected), (3, 9, NotLogged), (5, 3, ProofRejected)):
        request = service_pb2.ConsistencyRequest(first=first, second=second).SerializeToString()
        with pytest.raises(error):
            await service.consistency(session, request)


async def test_a_log_that_does_not_exist_yet_proves_nothing(
    tmp_path: Path, session: Session
) -> None:
    world = World(tmp_path)
    world.log.close()
    world.files.log(session.identity.tenant).unlink()
    service = LogService(LedgerStates(world.ledger, world.files), world.ledger)

    assert await service.checkpoint(session) == b""
    with pytest.raises(LedgerUnavailable):
        await service.proof(session, proof(b"x" * 32))
    world.ledger.close()
