from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.identity import agent_id_of
from certs.signatures import VerifyKey
from collector.errors import NotLogged
from collector.ledger.log import LogReader
from collector.ledger.proofs import Proofs
from collector.ledger.reader import LedgerReader
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.merkle import TreeHead
from proto.model import RecordRef
from proto.note import NoteKey
from proto.record_proof import parse_record_proof, verify_record
from proto.tlog import log_leaf, parse_proof, verify_logged
from tests.collector.ledger.world import LOG_KEY, World, a_record, an_audit
from tests.collector.sealing import TENANT, AnAgent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def ref(agent: AnAgent, seq: int, index: int) -> RecordRef:
    return RecordRef(agent.id.bytes, agent.epoch, seq, index)


def test_a_proof_file_leads_from_a_record_to_a_signed_checkpoint_with_keys_alone(
    world: World,
) -> None:
    agent = AnAgent()
    world.append(*[agent.seal([a_record(f"{b}/{n}") for n in range(5)]) for b in range(7)])
    world.admit_all()
    world.admitter.sign()

    data = world.proofs.proof_of(ref(agent, 4, 2))

    proof = parse_proof(data)
    found = parse_record_proof(proof.extra)
    header = codec.decode_header(found.header)
    verify_record(found, TreeHead(header.records, header.root))
    envelope.verify(PayloadType.BATCH, found.header, found.signature, VerifyKey(found.public_key))
    verify_logged(
        proof,
        log_leaf(PayloadType.BATCH, found.header, found.signature),
        [NoteKey(world.origin, LOG_KEY.public)],
    )
    assert agent_id_of(found.public_key).bytes == header.agent
    assert codec.decode_record(found.record)[0] == an_audit("3/2")


def test_what_is_not_there_or_not_covered_yet_is_not_proven(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal([a_record()]))

    for missing in (ref(agent, 1, 0), ref(agent, 2, 0), ref(AnAgent(9), 1, 0)):
        with pytest.raises(NotLogged):
            world.proofs.proof_of(missing)
    world.admit_all()
    with pytest.raises(NotLogged):
        world.proofs.proof_of(ref(agent, 1, 0))
    world.admitter.sign()
    with pytest.raises(NotLogged):
        world.proofs.proof_of(ref(agent, 1, 1))
    assert world.proofs.proof_of(ref(agent, 1, 0))


def test_another_process_proves_the_same_from_the_same_files(world: World) -> None:
    agent = AnAgent()
    world.append(agent.seal([a_record()]))
    world.admit_all()
    world.admitter.sign()
    ledger, log = world.files.ledger(TENANT), world.files.log(TENANT)

    elsewhere = Proofs(TENANT, LedgerReader(ledger), LogReader(log))

    assert elsewhere.proof_of(ref(agent, 1, 0)) == world.proofs.proof_of(ref(agent, 1, 0))


def test_a_refused_batch_has_no_proof(world: World) -> None:
    agent = AnAgent()
    batch = agent.seal([a_record()], root=b"r" * 32)
    world.append(batch)
    world.admit_all()
    world.admitter.sign()

    with pytest.raises(NotLogged):
        world.proofs.find(batch.header_hash)
