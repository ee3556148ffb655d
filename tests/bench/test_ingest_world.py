from pathlib import Path

import msgspec

from bench.findings import findings
from bench.ingest_world import BATCH, DOMAIN, TENANT, Given, a_world
from certs.leaf import PeerReader
from collector.gateway.messages import parse_envelope
from collector.ledger.admit import open_body
from collector.ledger.chain import check_header
from proto import codec, envelope
from proto.envelope import PayloadType


def test_what_is_sealed_is_what_a_collector_would_take_and_admit() -> None:
    world = a_world(1)
    agent = world.agents[0]

    messages = world.seal(0, findings(2 * BATCH + 1, agent.id.bytes))

    headers = []
    for message in messages:
        sent = parse_envelope(message)
        envelope.verify(PayloadType.BATCH, sent.header, sent.signature, agent.key.public)
        header = codec.decode_header(sent.header)
        check_header(header)
        assert len(open_body(header, sent.body).records) == BATCH
        headers.append(header)
    assert [header.seq for header in headers] == [1, 2]
    assert headers[1].previous != b""


def test_what_the_server_is_told_lets_the_agents_in(tmp_path: Path) -> None:
    world = a_world(2)
    world.write(tmp_path)

    given = msgspec.msgpack.decode((tmp_path / "given").read_bytes(), type=Given)
    reader = PeerReader(DOMAIN, given.root_pem)
    reader.trust(TENANT, given.authority_pem)

    for agent, row in zip(world.agents, given.agents, strict=True):
        leaf = agent.tls.chain_pem.split(b"-----BEGIN CERTIFICATE-----")[1]
        peer = reader.read(b"-----BEGIN CERTIFICATE-----" + leaf)
        assert peer.identity == row.identity
