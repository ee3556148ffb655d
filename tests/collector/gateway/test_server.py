"""The gateway as a whole: its start, its rotation, its end, and a disk that fails under it."""

import asyncio
import socket
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest

from collector.errors import CannotListen, IssuerUnavailable, LedgerUnavailable
from collector.gateway.policy import Listener
from collector.gateway.server import server_options
from collector.gateway.settings import GatewaySettings, ServerSettings
from collector.ledger.ports import Outcome, SealedBatch
from proto.model import HintKind, RefusedReason
from proto.vedette.v1.envelope_pb2 import RefusedReason as Number
from tests.certs.builders import TENANT as OTHER
from tests.collector.gateway.edge import Edge, a_domain, an_edge
from tests.collector.sealing import TENANT

PKI = a_domain()


async def test_the_gateway_serves_after_it_says_so_and_not_after_its_end(tmp_path: Path) -> None:
    async with an_edge(tmp_path, PKI) as edge:
        assert edge.gateway.is_serving
        host = edge.host()
        await host.ask("/vedette.v1.Log/Checkpoint")

    is_serving = edge.gateway.is_serving
    with pytest.raises(grpc.aio.AioRpcError):
        await host.ask("/vedette.v1.Log/Checkpoint")
    assert not is_serving


async def test_an_open_stream_is_answered_before_the_gateway_ends(tmp_path: Path) -> None:
    async with an_edge(tmp_path, PKI) as edge:
        host = edge.host()
        streams = host.pushing()
        pushing = await streams.__aenter__()
        await pushing.send(*[host.agent.seal() for _ in range(20)])
        await pushing.receipt(1)
        started = time.monotonic()
    took = time.monotonic() - started
    code, _ = await pushing.status()

    assert took < 5
    assert code is grpc.StatusCode.OK
    await streams.__aexit__(None, None, None)


async def test_without_an_issuer_there_is_no_start(tmp_path: Path) -> None:
    edge = Edge(tmp_path, PKI, GatewaySettings())
    edge.issuer.is_down = True

    with pytest.raises(IssuerUnavailable):
        await edge.gateway.serve(edge.server_tls(), asyncio.Event(), lambda: None)


async def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        edge = Edge(tmp_path, PKI, GatewaySettings())
        edge.gateway._addresses = type(edge.gateway._addresses)(  # noqa: SLF001  (of its own kind)
            "127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"
        )

        with pytest.raises(CannotListen):
            await edge.gateway.serve(edge.server_tls(), asyncio.Event(), lambda: None)


async def test_a_new_server_certificate_serves_on_the_same_port_beside_the_old_one(
    tmp_path: Path,
) -> None:
    settings = GatewaySettings(server=ServerSettings(connection_grace_s_max=1))
    async with an_edge(tmp_path, PKI, settings) as edge:
        ports = dict(edge.gateway.ports)
        host = edge.host()
        async with host.pushing() as old:
            await old.reply()
            rotating = asyncio.get_running_loop().create_task(
                edge.gateway.rotate(edge.server_tls())
            )
            await asyncio.sleep(0.1)
            async with host.pushing() as new:
                await new.send(host.agent.seal())
                assert (await new.receipt(1)).seq == 1
            await rotating
            code, _ = await old.status()
        await host.ask("/vedette.v1.Log/Checkpoint")

    assert edge.gateway.ports == ports
    assert code is not grpc.StatusCode.OK


async def test_a_full_disk_is_told_as_such_and_nothing_is_lost(tmp_path: Path) -> None:
    async with an_edge(tmp_path, PKI) as edge:
        host = edge.host()
        batch = host.agent.seal()
        append = edge.ledger.append

        def fail(tenant: object, batches: list[SealedBatch]) -> list[Outcome]:
            raise LedgerUnavailable("the disk is full")

        edge.ledger.append = fail  # type: ignore[method-assign, assignment]
        async with host.pushing() as pushing:
            await pushing.send(batch)
            refused = await pushing.refused()
            edge.ledger.append = append  # type: ignore[method-assign]
            await pushing.send(batch)
            receipt = await pushing.receipt(1)

    assert refused.reason == Number.Value(f"REFUSED_REASON_{RefusedReason.STORAGE.name}")
    assert (refused.retry, refused.header_hash) == (True, batch.header_hash)
    assert receipt.header_hash == batch.header_hash


async def serve_on_a_broken_ledger(root: Path) -> None:
    async with an_edge(root, PKI) as edge:

        def fail(tenant: object, batches: object) -> list[Outcome]:
            raise ZeroDivisionError("a bug")

        edge.ledger.append = fail  # type: ignore[method-assign]
        host = edge.host()
        async with host.pushing() as pushing:
            await pushing.send(host.agent.seal())
            await asyncio.sleep(0.5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_breaks_ends_the_gateway(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await serve_on_a_broken_ledger(tmp_path)

    assert caught.group_contains(ZeroDivisionError)


async def test_every_agent_of_a_tenant_can_be_told_that_content_changed(tmp_path: Path) -> None:
    async with an_edge(tmp_path, PKI) as edge, edge.host().pushing() as pushing:
        await pushing.reply()
        edge.gateway.intake.hint(OTHER, HintKind.RENEW)
        edge.gateway.intake.hint(TENANT, HintKind.CONTENT_CHANGED)

        assert (await pushing.reply()).hint.kind == 1
        assert edge.gateway.counts.as_numbers()["streams_open"] == 1


def test_every_limit_of_a_listener_is_told_to_grpc() -> None:
    options = dict(server_options(ServerSettings()))

    assert options["grpc.max_receive_message_length"] == 4 * 1024 * 1024
    assert options["grpc.max_concurrent_streams"] == 32
    assert options["grpc.http2.bdp_probe"] == 0
    assert options["grpc.http2.lookahead_bytes"] == 1024 * 1024
    assert options["grpc.max_connection_age_ms"] == 3_600_000
    assert options["grpc.http2.min_recv_ping_interval_without_data_ms"] == 30_000
    assert len(Listener) == 2
