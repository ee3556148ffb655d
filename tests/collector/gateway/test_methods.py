"""Each line of the table answers over the wire as the schema says."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import grpc.aio
import pytest

from certs.p256 import P256Key
from certs.request import create_request
from collector.gateway.content import ContentService
from collector.gateway.enrollment import EnrollmentService
from collector.gateway.health import HealthService
from collector.gateway.identity import IdentityService
from collector.gateway.logbook import LogService
from collector.gateway.methods import enrollment_methods, intake_methods
from collector.gateway.policy import POLICY, Listener
from collector.gateway.states import LedgerStates
from proto.vedette.v1 import service_pb2, statement_pb2
from tests.collector.gateway.edge import WAIT_S, Asking, Edge, a_domain, an_edge
from tests.collector.sealing import TENANT

PKI = a_domain()

Getting: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with an_edge(tmp_path, PKI) as edge:
        yield edge


async def test_a_host_joins_without_a_certificate_and_is_served_with_the_one_it_got(
    edge: Edge,
) -> None:
    host = edge.host()
    statement = statement_pb2.SignedStatement(payload=b"p", signature=b"s" * 64)
    key = P256Key.generate()
    request = service_pb2.EnrollRequest(
        token_secret=b"t" * 32, csr=create_request(key), statement=statement
    )
    async with edge.channel(Listener.ENROLLMENT, None) as channel:
        asking: Asking = channel.unary_unary("/vedette.v1.Enrollment/Enroll")
        data = await asking(request.SerializeToString(), timeout=WAIT_S)
        begin: Asking = channel.unary_unary("/vedette.v1.Enrollment/Begin")
        tenant = service_pb2.BeginRequest(tenant=TENANT.bytes).SerializeToString()
        begun = service_pb2.BeginResponse.FromString(await begin(tenant, timeout=WAIT_S))

    certificate = service_pb2.Certificate.FromString(data)
    host.tls = type(host.tls)(certificate.chain, key)
    assert begun.nonce
    assert await host.ask("/vedette.v1.Log/Checkpoint") == b""


async def test_a_renewed_certificate_ends_the_one_before_at_its_first_use(edge: Edge) -> None:
    host = edge.host()
    statement = statement_pb2.SignedStatement(payload=b"p", signature=b"s" * 64)
    key = P256Key.generate()
    request = service_pb2.RenewRequest(csr=create_request(key), statement=statement)
    async with host.pushing() as old:
        await old.reply()
        data = await host.ask("/vedette.v1.Identity/Renew", request.SerializeToString())
        await old.send(host.agent.seal())
        before = await old.receipt(1)
        host.tls = type(host.tls)(service_pb2.Certificate.FromString(data).chain, key)
        await host.ask("/vedette.v1.Identity/Challenge")
        code, _ = await old.status()

    assert before.seq == 1
    assert code.name == "UNAUTHENTICATED"


async def test_content_and_health_are_served(edge: Edge) -> None:
    (edge.content / "metadata").mkdir(parents=True)
    (edge.content / "metadata" / "1.root.json").write_bytes(b"root")
    host = edge.host()
    request = service_pb2.GetRequest(name="metadata/1.root.json").SerializeToString()
    async with host.channel() as channel:
        getting: Getting = channel.unary_stream("/vedette.v1.Content/Get")
        pieces = getting(request, timeout=WAIT_S)
        chunks = [service_pb2.Chunk.FromString(piece) async for piece in pieces]

    assert [chunk.data for chunk in chunks] == [b"root"]
    assert await host.ask("/grpc.health.v1.Health/Check") == b"\x08\x01"
    async with edge.channel(Listener.ENROLLMENT, None) as channel:
        asking: Asking = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await asking(b"", timeout=WAIT_S) == b"\x08\x01"


async def test_each_listeners_methods_are_exactly_the_lines_of_the_table(edge: Edge) -> None:
    gateway = edge.gateway
    health = HealthService(frozenset(), lambda: True)
    joining = enrollment_methods(EnrollmentService(edge.issuer, gateway.registry), health)
    states = LedgerStates(edge.ledger, edge.files)
    asking = intake_methods(
        gateway.intake,
        IdentityService(edge.issuer, gateway.registry),
        ContentService(lambda _: edge.content),
        LogService(states, edge.ledger),
        health,
    )

    assert {(Listener.ENROLLMENT, name) for name in joining} | {
        (Listener.INTAKE, name) for name in asking
    } == POLICY.keys()
