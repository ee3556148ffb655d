import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import AdmitRefused
from collector.ledger.admitter import refusal_record
from collector.ledger.chain import Verdict
from collector.ledger.flags import FlagKind
from collector.ledger.log import ADMITTED, NEWER, TRUSTED
from collector.ledger.ports import SealedBatch, Stored
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.errors import RejectReason
from proto.model import Audit, Compression
from tests.collector.ledger.world import LOG_KEY, World, a_record
from tests.collector.sealing import NOW, TENANT, AnAgent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def wrong_root(agent: AnAgent) -> SealedBatch:
    return agent.seal([a_record()], root=b"r" * 32)


def test_the_mark_follows_the_ledger_in_chunks(tmp_path: Path) -> None:
    world, agent = World(tmp_path, chunk=4), AnAgent()
    world.append(*[agent.seal([a_record()]) for _ in range(10)])

    steps = [world.admitter.step() for _ in range(4)]

    assert steps == [4, 4, 2, 0]
    assert world.admitter.mark == world.log.reader.mark() == 10
    assert world.log.size == 10


def test_after_a_restart_nothing_is_admitted_twice(tmp_path: Path) -> None:
    world, agent = World(tmp_path), AnAgent()
    world.append(agent.seal([a_record()]))
    world.admit_all()
    world.close()

    again = World(tmp_path)
    again.append(agent.seal([a_record()]))

    assert again.admitter.step() == 1
    assert again.log.size == 2


def test_a_wrong_root_is_refused_for_all_to_see_and_never_stops_the_mark(world: World) -> None:
    agent, honest = AnAgent(0), AnAgent(1)
    world.append(agent.seal(), wrong_root(agent), agent.seal(), honest.seal())

    world.admit_all()

    assert [outcome for _, outcome in world.log.reader.outcomes(0, 9)] == [
        ADMITTED | TRUSTED,
        0,
        ADMITTED,
        ADMITTED | TRUSTED,
    ]
    assert world.log.reader.refused() == 1
    assert [flag.kind for flag in world.reader.flags(0, 9)] == [FlagKind.BODY]
    assert world.reader.at(2) is not None


def test_a_refusal_is_signed_and_says_which_batch_and_why() -> None:
    stored = Stored(
        position=3,
        received=NOW,
        verdict=Verdict.ACCEPT,
        header_hash=b"h" * 32,
        header=b"",
        signature=b"",
        body=b"",
    )

    record = refusal_record(stored, AdmitRefused(RejectReason.PROOF, "no"), NOW)
    payload = codec.encode_record(record)

    envelope.verify(
        PayloadType.REFUSAL,
        payload,
        envelope.sign(PayloadType.REFUSAL, payload, LOG_KEY),
        LOG_KEY.public,
    )
    assert codec.decode_record(payload)[0] == record
    assert isinstance(record, Audit)
    assert record.subject == (b"h" * 32).hex()
    assert {one.name: one.value for one in record.detail}["reason"] == "proof"


def test_a_bomb_is_refused_and_quarantines_its_agent(world: World) -> None:
    agent = AnAgent()
    bomb = zlib.compress(bytes(50_000_000), 9)
    batch = agent.seal(raw_bytes=2000)
    world.append(
        SealedBatch(
            **{n: getattr(batch, n) for n in batch.__struct_fields__ if n != "body"}, body=bomb
        )
    )

    world.admit_all()

    assert world.log.reader.refused() == 1
    assert world.reader.is_quarantined(agent.id.bytes, 1)


def test_a_body_packed_in_a_newer_way_is_marked_and_condemns_nobody(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal(compression=Compression.UNSPECIFIED))

    world.admit_all()

    assert [outcome for _, outcome in world.log.reader.outcomes(0, 9)] == [NEWER]
    assert world.reader.flags(0, 9) == []


def test_batches_of_a_quarantined_agent_are_admitted_and_not_trusted(world: World) -> None:
    agent = AnAgent()
    first = agent.seal()
    twin = agent.twin()
    world.append(first, agent.seal([a_record()]))
    world.append(twin.seal([a_record("forged")]), agent.seal())

    world.admit_all()

    assert [outcome & TRUSTED for _, outcome in world.log.reader.outcomes(0, 9)] == [
        TRUSTED,
        TRUSTED,
        0,
    ]
    assert world.ledger.release(TENANT, agent.id) == 1
    world.append(agent.seal())
    world.admit_all()
    assert world.log.reader.outcomes(3, 9) == [(4, ADMITTED | TRUSTED)]


def test_checkpoints_are_signed_once_a_second_at_most(world: World) -> None:
    agent = AnAgent()

    def sign() -> bool:
        world.append(agent.seal())
        world.admit_all()
        return world.admitter.sign() is not None

    first, at_once = sign(), sign()
    world.clock.forward(1)

    assert (first, at_once, sign(), world.admitter.sign()) == (True, False, True, None)
