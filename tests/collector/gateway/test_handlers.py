"""What cannot be called: every way in that is not a line of the table, over real TLS."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from certs.channel import TlsIdentity, channel_credentials
from collector.gateway.counts import GatewayCounts
from collector.gateway.handlers import PolicedHandlers, source_of
from collector.gateway.policy import POLICY, Listener, Shape
from tests.certs.builders import a_leaf, a_server, a_tenant_authority, an_identity
from tests.collector.gateway.edge import WAIT_S, Asking, Edge, a_domain, an_edge
from tests.collector.gateway.test_enforcement import Post
from tests.collector.sealing import OTHER_TENANT
from tests.fakes.clock import FakeClock

PKI = a_domain()
Code = grpc.StatusCode


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with an_edge(tmp_path, PKI) as edge:
        yield edge


async def status(
    edge: Edge,
    method: str,
    tls: TlsIdentity | None,
    listener: Listener = Listener.INTAKE,
    request: bytes = b"",
) -> grpc.StatusCode:
    async with edge.channel(listener, tls) as channel:
        asking: Asking = channel.unary_unary(
            method, request_serializer=None, response_deserializer=None
        )
        call = asking(request, timeout=WAIT_S)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call
        return await call.code()


async def test_every_line_that_wants_a_certificate_is_closed_without_one(edge: Edge) -> None:
    for listener, name in POLICY:
        if listener is Listener.INTAKE:
            assert await status(edge, name, None) is Code.UNAVAILABLE
    assert edge.gateway.counts.denied.total() == 0


async def test_every_line_that_wants_an_agent_is_closed_to_a_stranger(edge: Edge) -> None:
    stranger = edge.host("stranger", registered=False)
    for (listener, name), rule in POLICY.items():
        if listener is Listener.INTAKE and rule.shape is Shape.ONE_TO_ONE:
            assert await status(edge, name, stranger.tls) is Code.PERMISSION_DENIED
    async with stranger.pushing() as pushing:
        assert (await pushing.status())[0] is Code.PERMISSION_DENIED


async def test_no_method_of_one_listener_is_served_by_the_other(edge: Edge) -> None:
    host = edge.host()
    both = {name for listener, name in POLICY if listener is Listener.INTAKE} & {
        name for listener, name in POLICY if listener is Listener.ENROLLMENT
    }
    for listener, name in POLICY:
        other = next(one for one in Listener if one is not listener)
        if name not in both:
            assert await status(edge, name, host.tls, other) is Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    "path",
    [
        "/vedette.v1.Log/checkpoint",
        "/vedette.v1.Log/Checkpoint/",
        "//vedette.v1.Log/Checkpoint",
        "/vedette.v1.Log//Checkpoint",
        "/VEDETTE.V1.Log/Checkpoint",
        "/vedette.v1.Log/%43heckpoint",
        "/vedette.v1.Log/Checkpoint?",
        "/vedette.v1.Log/../Log/Checkpoint",
        "vedette.v1.Log/Checkpoint",
        "/vedette.v1.Log/Checkpoint%00",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Watch",
        "/",
    ],
)
async def test_a_path_that_differs_in_one_byte_is_no_method(edge: Edge, path: str) -> None:
    assert await status(edge, path, edge.host().tls) is Code.UNIMPLEMENTED


async def test_an_agent_of_another_root_does_not_get_through_the_handshake(edge: Edge) -> None:
    elsewhere = a_domain()
    key, leaf = a_leaf(elsewhere.tenant, edge.issuer.now_ns, edge.host().identity)

    found = await status(edge, "/vedette.v1.Log/Checkpoint", TlsIdentity(leaf.chain_pem, key))

    assert found is Code.UNAVAILABLE


async def test_another_tenants_agent_whose_authority_nobody_knows_is_denied(edge: Edge) -> None:
    authority = a_tenant_authority(PKI.root, OTHER_TENANT, edge.issuer.now_ns)
    key, leaf = a_leaf(authority, edge.issuer.now_ns, an_identity(OTHER_TENANT))

    found = await status(edge, "/vedette.v1.Log/Checkpoint", TlsIdentity(leaf.chain_pem, key))

    assert found is Code.UNAUTHENTICATED


async def test_a_server_certificate_is_no_agent(edge: Edge) -> None:
    server = a_server(PKI.collector, edge.issuer.now_ns)

    assert await status(edge, "/vedette.v1.Log/Checkpoint", server) is Code.UNAVAILABLE


async def test_an_agent_that_trusts_another_root_tells_nothing(edge: Edge) -> None:
    elsewhere = a_domain()
    async with grpc.aio.secure_channel(
        f"localhost:{edge.gateway.ports[Listener.INTAKE]}",
        channel_credentials(elsewhere.root.certificate_pem, edge.host().tls),
    ) as channel:
        asking: Asking = channel.unary_unary("/vedette.v1.Log/Checkpoint")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asking(b"", timeout=WAIT_S)

    assert caught.value.code() is Code.UNAVAILABLE


async def test_a_giant_message_is_turned_away_and_the_collector_goes_on(edge: Edge) -> None:
    host = edge.host()
    async with host.pushing() as pushing:
        await pushing.reply()
        with contextlib.suppress(grpc.aio.AioRpcError):
            await pushing.call.write(bytes(5 * 1024 * 1024))
        code, _ = await pushing.status()

    assert code is Code.RESOURCE_EXHAUSTED
    small = await status(edge, "/vedette.v1.Log/Proof", host.tls, request=bytes(64 * 1024))
    assert small is Code.RESOURCE_EXHAUSTED
    assert await status(edge, "/vedette.v1.Log/Checkpoint", host.tls) is Code.OK


async def test_rubbish_in_any_request_is_an_invalid_argument(edge: Edge) -> None:
    host = edge.host()
    quiet = {"/vedette.v1.Identity/Challenge", "/vedette.v1.Log/Checkpoint"}
    for (listener, name), rule in POLICY.items():
        if rule.shape is Shape.ONE_TO_ONE and name not in quiet:
            found = await status(edge, name, host.tls, listener, b"\xff\xff\xff")
            assert found is Code.INVALID_ARGUMENT, name


async def test_headers_that_name_somebody_else_change_nothing(edge: Edge) -> None:
    host = edge.host()
    async with edge.channel(Listener.INTAKE, host.tls) as channel:
        asking: Asking = channel.unary_unary("/vedette.v1.Log/Checkpoint")
        call = asking(
            b"",
            timeout=WAIT_S,
            metadata=(
                ("x-forwarded-client-cert", "URI=spiffe://other"),
                ("x-forwarded-for", "192.0.2.1"),
            ),
        )
        await call

    assert await call.code() is Code.OK


def test_a_table_and_methods_that_differ_stop_the_start() -> None:
    with pytest.raises(AssertionError, match="Enrollment/Begin"):
        PolicedHandlers(Listener.ENROLLMENT, {}, Post().point, GatewayCounts(), FakeClock())


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("unix:", ""),
        ("", ""),
        ("x" * 500, ""),
    ],
)
def test_the_source_of_a_call_is_the_address_of_its_socket(peer: str, address: str) -> None:
    assert source_of(peer) == address
