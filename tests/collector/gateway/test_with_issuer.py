"""The gateway beside the real issuer: a host's whole life over the wire."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import grpc
import grpc.aio
import pytest

from certs.channel import TlsIdentity, channel_credentials
from certs.p256 import P256Key
from certs.request import create_request
from collector.gateway.policy import Listener
from collector.gateway.server import Addresses, Gateway, Parts
from collector.gateway.settings import GatewaySettings
from collector.issuer.client import IssuerClient
from collector.issuer.messages import IssueServer, Revoke, ServerIssued, Standing
from collector.ledger.commit import CommitSettings
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from proto.model import StatementKind
from proto.vedette.v1 import service_pb2, statement_pb2
from runtime.clock import SystemClock
from tests.collector.gateway.edge import PUSH, RECEIPT_KEY, WAIT_S, Asking, Opening, Pushing
from tests.collector.issuer.builders import Host, House, a_house, a_secret
from tests.collector.issuer.test_server import serving
from tests.collector.sealing import AnAgent
from tests.fakes.clock import FakeClock


class Wire:
    """Calls to one gateway."""

    def __init__(self, gateway: Gateway, root_pem: bytes) -> None:
        self._gateway = gateway
        self._root_pem = root_pem

    def channel(self, listener: Listener, tls: TlsIdentity | None = None) -> grpc.aio.Channel:
        port = self._gateway.ports[listener]
        return grpc.aio.secure_channel(
            f"localhost:{port}", channel_credentials(self._root_pem, tls)
        )

    async def ask(self, method: str, request: bytes, tls: TlsIdentity | None = None) -> bytes:
        listener = Listener.INTAKE if tls else Listener.ENROLLMENT
        async with self.channel(listener, tls) as channel:
            asking: Asking = channel.unary_unary(method)
            answer = await asking(request, timeout=WAIT_S)
            assert isinstance(answer, bytes)
            return answer


@asynccontextmanager
async def running(house: House, issuer: IssuerClient, root: Path) -> AsyncIterator[Wire]:
    key = P256Key.generate()
    issued = await issuer.call(IssueServer(csr=create_request(key)), ServerIssued)
    files = TenantFiles(root)
    ledger = SqliteLedger(files, SystemClock(), os.urandom)
    parts = Parts(
        domain=house.settings.domain,
        root_pem=house.root.certificate_pem,
        issuer=issuer,
        receipt_key=RECEIPT_KEY,
        ledger=ledger,
        files=files,
        content_of=lambda _: root / "content",
        clock=house.clock,
        random=Random(1).random,
    )
    addresses = Addresses("127.0.0.1:0", "127.0.0.1:0")
    gateway = Gateway(parts, addresses, GatewaySettings(), CommitSettings())
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.serve(TlsIdentity(issued.chain_pem, key), stop, ready.set))
        async with asyncio.timeout(WAIT_S):
            await ready.wait()
        try:
            yield Wire(gateway, house.root.certificate_pem)
        finally:
            stop.set()
    ledger.close()


def signed(host: Host, kind: StatementKind, nonce: bytes) -> statement_pb2.SignedStatement:
    statement = host.signed(host.statement(kind, nonce))
    return statement_pb2.SignedStatement(payload=statement.payload, signature=statement.signature)


async def join(wire: Wire, host: Host, secret: bytes) -> TlsIdentity:
    begin = service_pb2.BeginRequest(tenant=host.peer.tenant.bytes).SerializeToString()
    begun = service_pb2.BeginResponse.FromString(
        await wire.ask("/vedette.v1.Enrollment/Begin", begin)
    )
    request = service_pb2.EnrollRequest(
        token_secret=secret,
        csr=host.csr,
        statement=signed(host, StatementKind.ENROL, begun.nonce),
    )
    data = await wire.ask("/vedette.v1.Enrollment/Enroll", request.SerializeToString())
    certificate = service_pb2.Certificate.FromString(data)
    host.generation = certificate.generation
    return TlsIdentity(certificate.chain, host.tls)


async def renew(wire: Wire, host: Host, tls: TlsIdentity) -> TlsIdentity:
    challenge = service_pb2.ChallengeResponse.FromString(
        await wire.ask("/vedette.v1.Identity/Challenge", b"", tls)
    )
    host.new_tls_key()
    request = service_pb2.RenewRequest(
        csr=host.csr, statement=signed(host, StatementKind.RENEW, challenge.nonce)
    )
    data = await wire.ask("/vedette.v1.Identity/Renew", request.SerializeToString(), tls)
    return TlsIdentity(service_pb2.Certificate.FromString(data).chain, host.tls)


async def status(wire: Wire, tls: TlsIdentity) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.ask("/vedette.v1.Identity/Challenge", b"", tls)
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


async def test_a_host_joins_sends_renews_and_is_cut_off(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.wall = time.time_ns()
    house = a_house(tmp_path, clock)
    secret = a_secret(house.desk, house.tenant)
    agent = AnAgent("joining", house.tenant)
    host = Host(house.tenant, clock)
    host.signing, host.peer = agent.key, type(host.peer)(house.tenant, agent.id)

    async with serving(house) as issuer, running(house, issuer, tmp_path) as wire:
        tls = await join(wire, host, secret)
        newer = await renew(wire, host, tls)
        async with wire.channel(Listener.INTAKE, newer) as channel:
            opening: Opening = channel.stream_stream(PUSH)
            call = opening()
            batch = agent.seal([b"record"])
            pushing = Pushing(call)
            await pushing.send(batch)
            receipt = await pushing.receipt(1)
            old = await status(wire, tls)
            started = time.monotonic()
            await issuer.call(Revoke(peer=host.peer, reason="test"), Standing)
            code, _ = await pushing.status()
            took = time.monotonic() - started

    assert receipt.header_hash == batch.header_hash
    assert old is grpc.StatusCode.UNAUTHENTICATED
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert took < 2
