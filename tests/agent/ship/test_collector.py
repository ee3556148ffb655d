import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from agent.errors import Unreachable
from agent.sense.statements import make_statement
from agent.ship import collector
from agent.ship.collector import CallFailed, CallRefused
from certs.channel import TlsIdentity
from certs.p256 import P256Key
from certs.request import create_request, spki_hash
from proto.model import StatementKind
from tests.agent.sense.builders import Host
from tests.certs.builders import OTHER_TENANT, TENANT, a_leaf
from tests.fakes.enrollment import FakeFront


@asynccontextmanager
async def calling(
    front: FakeFront, identity: TlsIdentity | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    channel = collector.open_channel(front.address, front.pki.root.certificate_pem, identity)
    try:
        yield channel
    finally:
        await collector.close_channel(channel)


def a_note(size: int) -> bytes:
    return f"log.example/x\n{size}\naGFzaA==\n".encode()


async def test_enrolment_begins_with_a_nonce_and_the_trust_file() -> None:
    async with FakeFront() as front, calling(front) as channel:
        nonce, trust = await collector.begin(channel, TENANT.bytes)

    assert (nonce, trust) == (front.nonce, front.trust.encode())


async def test_a_refusal_carries_the_status_and_the_words_of_the_collector() -> None:
    async with FakeFront() as front, calling(front) as channel:
        with pytest.raises(CallFailed) as caught:
            await collector.begin(channel, OTHER_TENANT.bytes)

    assert caught.value.message == "enrolment did not begin: not_found: no such tenant"
    assert caught.value.is_missing
    assert (caught.value.exit_code, caught.value.retryable) == (5, True)


async def test_who_is_told_no_need_not_ask_again() -> None:
    async with FakeFront() as front, calling(front) as channel:
        with pytest.raises(CallRefused) as caught:
            await collector.enroll(channel, b"x" * 32, b"", (b"", b""))

    assert (caught.value.exit_code, caught.value.retryable) == (6, False)
    assert "the token is not known" in caught.value.message


@pytest.mark.parametrize("kind", [StatementKind.ENROL, StatementKind.RENEW])
async def test_a_statement_with_a_request_becomes_a_certificate(kind: StatementKind) -> None:
    host, csr = Host(), create_request(P256Key.generate())

    async with FakeFront() as front, calling(front) as channel:
        nonce = await collector.challenge(channel)
        asked = (kind, spki_hash(csr), nonce)
        made = make_statement(host.key, host.key.public.raw, host.facts, host.clock, asked)
        signed = (made.payload, made.signature)
        if kind is StatementKind.ENROL:
            issued = await collector.enroll(channel, front.secret, csr, signed)
        else:
            issued = await collector.renew(channel, csr, signed)

    assert issued.agent == host.agent
    assert issued.chain.startswith(b"-----BEGIN CERTIFICATE-----")
    assert issued.not_after > time.time_ns()


async def test_who_has_no_certificate_is_not_heard_where_one_is_asked_for() -> None:
    async with FakeFront(asks=True) as front:
        async with calling(front) as channel:
            with pytest.raises(Unreachable):
                await collector.challenge(channel)

        key, leaf = a_leaf(front.pki.tenant, time.time_ns())
        async with calling(front, TlsIdentity(leaf.chain_pem, key)) as channel:
            assert await collector.challenge(channel) == front.nonce


async def test_a_collector_under_another_root_is_unreachable() -> None:
    other = FakeFront()
    async with FakeFront() as front:
        channel = collector.open_channel(front.address, other.pki.root.certificate_pem, None)

        with pytest.raises(Unreachable, match="unavailable"):
            await collector.challenge(channel)

        await collector.close_channel(channel)


async def test_a_content_file_comes_in_pieces_from_any_offset() -> None:
    async with FakeFront() as front, calling(front) as channel:
        front.files["root.json"] = b"0123456789"

        first = await collector.content_chunk(channel, "root.json", 0)
        rest = await collector.content_chunk(channel, "root.json", 8)

    assert (first, rest) == ((b"0123", 10), (b"89", 10))


async def test_a_file_that_is_not_there_is_told_from_a_collector_that_is_not() -> None:
    async with FakeFront() as front, calling(front) as channel:
        with pytest.raises(CallFailed) as missing:
            await collector.content_chunk(channel, "2.root.json", 0)
        front.files["empty"] = b""
        with pytest.raises(Unreachable, match="no bytes"):
            await collector.content_chunk(channel, "empty", 0)

    assert missing.value.is_missing


async def test_a_name_in_an_error_is_quoted_and_cut() -> None:
    async with FakeFront() as front, calling(front) as channel:
        with pytest.raises(CallFailed) as caught:
            await collector.content_chunk(channel, "\x1b[2J" * 100, 0)

    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


async def test_a_log_without_a_checkpoint_has_not_grown() -> None:
    async with FakeFront() as front, calling(front) as channel:
        assert await collector.log_growth(channel, 0) is None


@pytest.mark.parametrize(
    ("known", "size", "asked"),
    [(3, 9, [(3, 9)]), (0, 9, []), (9, 9, []), (10, 9, [])],
)
async def test_growth_is_proven_from_the_size_that_is_known(
    known: int, size: int, asked: list[tuple[int, int]]
) -> None:
    async with FakeFront() as front, calling(front) as channel:
        front.checkpoint = a_note(size)

        proof = await collector.log_growth(channel, known)

    assert proof is not None
    assert proof.checkpoint == a_note(size)
    assert front.asked_growth == asked
    assert bool(proof.hashes) == bool(asked)


@pytest.mark.parametrize(
    "note", [b"x", b"x\n-1\n", b"x\n+5\n", b"x\n 5\n", b"x\n" + b"9" * 19, "x\n\u0663\n".encode()]
)
async def test_a_note_of_no_size_asks_for_no_proof_and_goes_to_sense_as_it_is(note: bytes) -> None:
    async with FakeFront() as front, calling(front) as channel:
        front.checkpoint = note

        proof = await collector.log_growth(channel, 1)

    assert proof == collector.Proof(note, ())
    assert front.asked_growth == []


async def test_a_peer_that_takes_the_connection_and_says_nothing_ends_with_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "CALL_TIMEOUT_S", 0.2)
    front = FakeFront()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        front.address = f"localhost:{silent.getsockname()[1]}"
        async with calling(front) as channel:
            with pytest.raises(Unreachable, match="deadline_exceeded"):
                await collector.challenge(channel)


CALLS: Mapping[str, Callable[[grpc.aio.Channel], Awaitable[object]]] = {
    "begin": lambda channel: collector.begin(channel, TENANT.bytes),
    "enroll": lambda channel: collector.enroll(channel, b"", b"", (b"", b"")),
    "challenge": collector.challenge,
    "renew": lambda channel: collector.renew(channel, b"", (b"", b"")),
    "content": lambda channel: collector.content_chunk(channel, "timestamp.json", 0),
    "log": lambda channel: collector.log_growth(channel, 0),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_channel_closed_under_a_call_is_an_error_and_not_the_end_of_the_task(
    call: str,
) -> None:
    """gRPC cancels such a call; a task that is cancelled ends without a word."""
    front = FakeFront()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        front.address = f"localhost:{silent.getsockname()[1]}"
        async with calling(front) as channel:
            asking = asyncio.ensure_future(CALLS[call](channel))
            await asyncio.sleep(0.05)
            await channel.close()
            with pytest.raises(Unreachable, match="closed"):
                await asking
            with pytest.raises(Unreachable, match="closed"):
                await CALLS[call](channel)


async def test_a_task_that_is_told_to_end_in_a_call_ends() -> None:
    front = FakeFront()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        front.address = f"localhost:{silent.getsockname()[1]}"
        async with calling(front) as channel:
            asking = asyncio.ensure_future(collector.challenge(channel))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
