"""A whole gateway on loopback, with real TLS and a real ledger, and agents that call it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TypeAlias

import grpc
import grpc.aio
from msgspec import structs

from certs.authority import IssuedLeaf
from certs.channel import TlsIdentity, channel_credentials
from certs.identity import PeerIdentity
from certs.p256 import P256Key
from collector.gateway.policy import Listener
from collector.gateway.server import Addresses, Gateway, Parts
from collector.gateway.settings import GatewaySettings
from collector.issuer.agents import Agent, serial_bytes
from collector.ledger.commit import CommitSettings
from collector.ledger.files import TenantFiles
from collector.ledger.ports import SealedBatch
from collector.ledger.sqlite import SqliteLedger
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.model import Receipt
from proto.vedette.v1.envelope_pb2 import Envelope, Refused, Reply
from runtime.clock import SystemClock
from tests.certs.builders import DOMAIN, Pki, a_leaf, a_pki, a_server
from tests.collector.sealing import TENANT, AnAgent, a_key
from tests.fakes.issuer import FakeIssuer

RECEIPT_KEY = a_key("receipts")
PUSH = "/vedette.v1.Intake/Push"
WAIT_S = 10

Asking: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
Opening: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"
Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"


class Host:
    """An agent with a certificate, and what it has been told.

    Args:
        edge: the gateway it calls.
        agent: seals.
        key: of its TLS certificate.
        leaf: its certificate.
    """

    def __init__(self, edge: "Edge", agent: AnAgent, key: P256Key, leaf: IssuedLeaf) -> None:
        self.edge = edge
        self.agent = agent
        self.identity = PeerIdentity(agent.tenant, agent.id)
        self.tls = TlsIdentity(leaf.chain_pem, key)
        self.leaf = leaf

    def channel(self, listener: Listener = Listener.INTAKE) -> grpc.aio.Channel:
        return self.edge.channel(listener, self.tls)

    @asynccontextmanager
    async def pushing(self) -> AsyncIterator["Pushing"]:
        async with self.channel() as channel:
            opening: Opening = channel.stream_stream(
                PUSH, request_serializer=None, response_deserializer=None
            )
            call: Call = opening()
            yield Pushing(call)
            call.cancel()

    async def ask(self, method: str, request: bytes = b"") -> bytes:
        async with self.channel() as channel:
            asking: Asking = channel.unary_unary(
                method, request_serializer=None, response_deserializer=None
            )
            answer = await asking(request, timeout=WAIT_S)
            assert isinstance(answer, bytes)
            return answer


class Pushing:
    """One open batch stream, from the agent's side."""

    def __init__(self, call: Call) -> None:
        self.call = call

    async def send(self, *batches: SealedBatch) -> None:
        for batch in batches:
            message = Envelope(
                header=batch.header_bytes, signature=batch.signature, body=batch.body
            )
            await self.call.write(message.SerializeToString())

    async def reply(self) -> Reply:
        data = await asyncio.wait_for(self.call.read(), WAIT_S)
        assert isinstance(data, bytes), "the stream ended"
        return Reply.FromString(data)

    async def replies_until(self, wanted: Callable[[Reply], bool]) -> list[Reply]:
        found = [await self.reply()]
        while not wanted(found[-1]):
            found.append(await self.reply())
        return found

    async def receipt(self, seq: int) -> Receipt:
        """Return the first receipt that covers a batch, its signature checked."""
        while True:
            reply = await self.reply()
            if reply.WhichOneof("kind") != "receipt":
                continue
            receipt = opened(reply)
            if receipt.seq >= seq or seq in {one.seq for one in receipt.ahead}:
                return receipt

    async def refused(self) -> Refused:
        replies = await self.replies_until(lambda reply: reply.WhichOneof("kind") == "refused")
        return replies[-1].refused

    async def status(self) -> tuple[grpc.StatusCode, str]:
        """Return how the stream ended, after whatever was still to be read."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while isinstance(await asyncio.wait_for(self.call.read(), WAIT_S), bytes):
                pass
        code = await asyncio.wait_for(self.call.code(), WAIT_S)
        return code, await self.call.details()


def opened(reply: Reply) -> Receipt:
    signed = reply.receipt
    envelope.verify(PayloadType.RECEIPT, signed.payload, signed.signature, RECEIPT_KEY.public)
    return codec.decode_receipt(signed.payload)


class Edge:
    """The gateway and everything behind it.

    Args:
        root: the collector's directory.
        pki: of the trust domain.
        settings: its limits.
    """

    def __init__(self, root: Path, pki: Pki, settings: GatewaySettings) -> None:
        self.root = root
        self.pki = pki
        self.clock = SystemClock()
        self.issuer = FakeIssuer()
        self.issuer.now_ns = time.time_ns()
        self.issuer.trust(pki.tenant)
        self.files = TenantFiles(root)
        self.ledger = SqliteLedger(self.files, self.clock, os.urandom)
        self.content = root / "content"
        parts = Parts(
            domain=DOMAIN,
            root_pem=pki.root.certificate_pem,
            issuer=self.issuer,
            receipt_key=RECEIPT_KEY,
            ledger=self.ledger,
            files=self.files,
            content_of=lambda _: self.content,
            clock=self.clock,
            random=Random(1).random,
        )
        addresses = Addresses("127.0.0.1:0", "127.0.0.1:0")
        self.gateway = Gateway(parts, addresses, settings, CommitSettings())

    def server_tls(self) -> TlsIdentity:
        return a_server(self.pki.collector, time.time_ns())

    def channel(self, listener: Listener, tls: TlsIdentity | None) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            f"localhost:{self.gateway.ports[listener]}",
            channel_credentials(self.pki.root.certificate_pem, tls),
        )

    def host(self, seed: object = 0, *, registered: bool = True) -> Host:
        """Return an enrolled agent of the first tenant."""
        agent = AnAgent(seed, TENANT)
        identity = PeerIdentity(TENANT, agent.id)
        key, leaf = a_leaf(self.pki.tenant, time.time_ns(), identity)
        if registered:
            self.register(agent, leaf)
        return Host(self, agent, key, leaf)

    def register(self, agent: AnAgent, leaf: IssuedLeaf, **changes: object) -> None:
        row = Agent(
            identity=PeerIdentity(agent.tenant, agent.id),
            signing_key=agent.key.public.raw,
            host_name="host",
            enrolled_ns=1,
            changed_ns=1,
            current=serial_bytes(leaf.serial),
        )
        self.gateway.registry.apply((self.issuer.put(structs.replace(row, **changes)),))


def a_domain() -> Pki:
    """A trust domain whose one tenant is the one that tests seal for."""
    return a_pki(time.time_ns(), TENANT)


@asynccontextmanager
async def an_edge(
    root: Path, pki: Pki, settings: GatewaySettings | None = None
) -> AsyncIterator[Edge]:
    """Run a gateway while the block lasts."""
    edge = Edge(root, pki, settings or GatewaySettings())
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(edge.gateway.serve(edge.server_tls(), stop, ready.set))
        waiting = group.create_task(ready.wait())
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        try:
            yield edge
        finally:
            stop.set()
            waiting.cancel()
    edge.ledger.close()
