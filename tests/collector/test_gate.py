"""The gateway process with the real issuer beside it and the agent's own code before it."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from cryptography import x509

from agent.enroll import Ask, enroll
from agent.errors import Unreachable
from agent.identity import SIGNING_KEY
from agent.layout import Owners
from agent.settings import PathSettings
from agent.ship.collector import open_channel
from agent.ship.credentials import load_credentials, load_trust
from certs.channel import TlsIdentity
from certs.errors import KeyUnusable
from certs.identity import PeerIdentity, TenantId
from certs.keyring import load_signing_key
from certs.tokens import JoinToken
from certs.trust import Trust
from collector import gate
from collector.errors import CannotListen, IssuerUnavailable
from collector.gateway.server import Gateway
from collector.issuer.client import IssuerClient
from collector.issuer.messages import MintToken, Revoke, Standing, TokenMinted
from collector.issuer.syncclient import ask
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.model import Durability, Receipt
from proto.vedette.v1.envelope_pb2 import Envelope, Reply
from runtime.clock import NS_PER_S, SystemClock
from runtime.supervise import cause
from tests.collector.gateway.edge import PUSH, Call, Opening
from tests.collector.shell import Sealing, Shell, a_detection

WAIT_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Town:
    """A collector that was set up, with ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.intake, self.enrollment = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.shell = Shell(
            folder,
            f'server_names = ["127.0.0.1"]\n[gateway]\nintake_address = "{self.intake}"\n'
            f'enrollment_address = "{self.enrollment}"\n',
        )
        self.tenant: TenantId = self.shell.init()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Run the gateway while the block lasts; the issuer is somebody else's to run."""
        stop, ready = asyncio.Event(), asyncio.Event()
        run = gate.run(self.shell.settings, self.shell.clock, stop, ready.set)
        task = asyncio.create_task(run)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
        waiting.cancel()
        try:
            if task.done():
                await task
            yield task
        finally:
            stop.set()
            await asyncio.wait((task,), timeout=WAIT_S)
        await task

    def token(self) -> JoinToken:
        request = MintToken(tenant=self.tenant)
        minted = ask(self.shell.settings.paths.issuer_socket, request, TokenMinted)
        return JoinToken.parse(minted.token)

    async def joins(self, name: str = "web-1") -> "Joined":
        """Enrol a host with the agent's own code."""
        state = self.shell.folder / name
        paths = PathSettings(state=str(state), run=str(state / "run"))
        me = Owners(os.geteuid(), os.geteuid(), os.getegid())
        token = await asyncio.to_thread(self.token)
        await enroll(token, Ask(self.enrollment, self.intake), paths, me, SystemClock())
        return Joined(self, paths, name)


class Joined:
    """A host with its certificate, and the agent's sealer on its signing key."""

    def __init__(self, town: Town, paths: PathSettings, name: str) -> None:
        self._town = town
        key = load_signing_key(Path(paths.sense) / SIGNING_KEY)
        self.sealing = Sealing(town.tenant, name, key.private_bytes())
        self.credentials = load_credentials(Path(paths.ship))
        self.trust: Trust = load_trust(Path(paths.ship))

    def channel(self) -> grpc.aio.Channel:
        return open_channel(self._town.intake, self.trust.root_pem, self.credentials.identity)

    async def pushes(self, number: int) -> Receipt:
        """Send one batch on a stream of its own and return its receipt."""
        async with self.pushing() as stream:
            return await stream.push(number)

    @asynccontextmanager
    async def pushing(self) -> AsyncIterator["Stream"]:
        async with self.channel() as channel:
            opening: Opening = channel.stream_stream(
                PUSH, request_serializer=None, response_deserializer=None
            )
            stream = Stream(self, opening())
            yield stream
            stream.call.cancel()


class Stream:
    """An open stream, and what a receipt on it has to be verified with."""

    def __init__(self, host: Joined, call: Call) -> None:
        self._host = host
        self.call = call

    async def push(self, number: int) -> Receipt:
        """Send one batch and return its receipt, verified as the agent verifies it."""
        batch = self._host.sealing.seal(a_detection(number))
        message = Envelope(header=batch.header_bytes, signature=batch.signature, body=batch.body)
        await self.call.write(message.SerializeToString())
        while True:
            data = await asyncio.wait_for(self.call.read(), WAIT_S)
            assert isinstance(data, bytes), (await self.call.code(), await self.call.details())
            reply = Reply.FromString(data)
            if reply.WhichOneof("kind") != "receipt":
                continue
            signed = reply.receipt
            (key,) = self._host.trust.receipt_keys
            envelope.verify(PayloadType.RECEIPT, signed.payload, signed.signature, key.verify_key)
            receipt = codec.decode_receipt(signed.payload)
            if receipt.header_hash == batch.header_hash:
                return receipt


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def serial(town: Town) -> bytes:
    """Connect as anybody can, and return the server's certificate."""
    host, _, port = town.enrollment.rpartition(":")
    context = ssl.create_default_context(cadata=town.shell.root().certificate_pem.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return shown


async def certificate_of(town: Town) -> bytes:
    """Return what is shown now; the loop runs on, for the server needs it to change listeners."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(OSError):  # by a listener that is just going
                return await asyncio.to_thread(serial, town)


async def replaced(town: Town, shown: bytes) -> None:
    """Wait until another certificate is shown."""
    async with asyncio.timeout(WAIT_S):
        while await certificate_of(town) == shown:
            pass  # each look takes a whole handshake


async def test_a_host_joins_by_a_token_and_gets_a_receipt_it_can_verify(town: Town) -> None:
    """Issuer, gateway and agent agree on every key, though no process holds them all."""
    with town.shell.issuing():
        async with town.serving():
            host = await town.joins()
            receipt = await host.pushes(1)

    (stored,) = town.shell.tools().ledger.read(town.tenant, 0, 9, 2**20)
    assert receipt.durability is Durability.DURABLE
    assert (receipt.agent, receipt.seq) == (host.sealing.agent, 1)
    assert stored.header_hash == receipt.header_hash


async def test_a_token_joins_one_host(town: Town) -> None:
    with town.shell.issuing():
        async with town.serving():
            token = await asyncio.to_thread(town.token)
            town.token = lambda: token  # type: ignore[method-assign]
            await town.joins("web-1")

            with pytest.raises(Unreachable, match="did not enrol"):
                await town.joins("web-2")


async def test_a_host_that_was_revoked_is_cut_off(town: Town) -> None:
    with town.shell.issuing():
        async with town.serving():
            host = await town.joins()
            await host.pushes(1)
            peer = PeerIdentity(town.tenant, host.sealing.id)
            socket_path = town.shell.settings.paths.issuer_socket
            request = Revoke(peer=peer, reason="stolen")
            await asyncio.to_thread(ask, socket_path, request, Standing)
            await asyncio.sleep(2)

            with pytest.raises((AssertionError, grpc.aio.AioRpcError)):
                await host.pushes(2)

    assert len(town.shell.tools().ledger.read(town.tenant, 0, 9, 2**20)) == 1


async def test_an_issuer_that_starts_later_is_waited_for(town: Town) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(gate.run(town.shell.settings, town.shell.clock, stop, ready.set))
    await asyncio.sleep(0.5)
    too_early = ready.is_set()
    with town.shell.issuing():
        async with asyncio.timeout(WAIT_S):
            await ready.wait()
        stop.set()
        await task

    assert not too_early


async def test_an_issuer_that_never_starts_is_an_error_that_may_be_tried_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "START_WAIT_S_MAX", -1)

    with pytest.raises(IssuerUnavailable) as caught:
        async with town.serving():
            pass

    assert caught.value.retryable


async def test_an_address_that_is_taken_is_named_with_what_to_do(town: Town) -> None:
    with town.shell.issuing(), socket.socket() as other:
        host, _, port = town.intake.rpartition(":")
        other.bind((host, int(port)))
        other.listen(1)

        with pytest.raises(BaseException) as caught:  # noqa: PT011  (a group of one)
            async with town.serving():
                pass

    error = cause(caught.value)
    assert isinstance(error, CannotListen)
    assert town.intake in error.message
    assert error.hint


@pytest.mark.parametrize("name", ["receipt_key", "root_certificate"])
async def test_without_its_files_the_gateway_does_not_begin(town: Town, name: str) -> None:
    getattr(town.shell.settings.paths, name).unlink()

    with town.shell.issuing(), pytest.raises((KeyUnusable, OSError), match="gate"):
        async with town.serving():
            pass


async def test_the_certificate_is_due_at_half_its_life(town: Town) -> None:
    with town.shell.issuing():
        client = IssuerClient(town.shell.settings.paths.issuer_socket)
        certificate = await gate._issued(client, town.shell.clock)  # noqa: SLF001
        await client.close()

    leaf = x509.load_pem_x509_certificate(certificate.tls.chain_pem)
    life_s = leaf.not_valid_after_utc.timestamp() - town.shell.clock.wall / NS_PER_S
    due_s = (certificate.renew_at - town.shell.clock.wall) / NS_PER_S
    assert due_s / life_s == pytest.approx(0.5, rel=1e-3)


async def test_a_certificate_is_replaced_under_open_streams(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "RENEW_RETRY_S", 0.3)
    monkeypatch.setattr(gate, "RENEW_SHARE", 0)
    with town.shell.issuing():
        async with town.serving():
            host = await town.joins()
            async with host.pushing() as stream:
                first = await stream.push(1)
                shown = await certificate_of(town)
                await replaced(town, shown)
                second = await stream.push(2)
            anew = await host.pushes(3)

    assert [first.seq, second.seq, anew.seq] == [1, 2, 3]


async def test_a_certificate_that_cannot_be_replaced_now_is_asked_for_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the old one is shown, and nothing else ends."""
    monkeypatch.setattr(gate, "RENEW_RETRY_S", 0.1)
    monkeypatch.setattr(gate, "RENEW_SHARE", 0)
    rotate = Gateway.rotate
    failed: list[TlsIdentity] = []

    async def rotating(gateway: Gateway, tls: TlsIdentity) -> None:
        if len(failed) < 2:
            failed.append(tls)
            monkeypatch.setattr(gate, "RENEW_SHARE", 0.5)
            raise CannotListen("the port is taken")
        await rotate(gateway, tls)

    monkeypatch.setattr(Gateway, "rotate", rotating)
    with town.shell.issuing():
        async with town.serving() as task:
            shown = await certificate_of(town)
            await replaced(town, shown)

            assert len(failed) == 2
            assert not task.done()
