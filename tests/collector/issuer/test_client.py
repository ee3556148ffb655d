import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from certs.identity import TenantId
from collector.errors import IssuerUnavailable
from collector.issuer.client import IssuerClient
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import Begin, Begun, Changes, Done, Reply, encode, failure
from runtime.frames import encode_frame

ASK = Begin(tenant=TenantId(bytes(16)))
ANSWER = Begun(nonce=bytes(32), trust=b"")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering(path: Path, handler: Handler) -> AsyncIterator[IssuerClient]:
    tasks = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_unix_server(handle, path)
    client = IssuerClient(path, connections_max=2)
    try:
        yield client
    finally:
        await client.close()
        server.close()
        await asyncio.wait({task for task in tasks if task}, timeout=10)


def always(*data: bytes) -> Handler:
    """Answer each read with the same bytes, in the parts given."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            for part in data:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)

    return handle


def framed(reply: Reply) -> bytes:
    return encode_frame(encode(reply))


async def test_a_reply_comes_back_whole_whatever_the_parts(tmp_path: Path) -> None:
    data = framed(ANSWER)

    async with answering(tmp_path / "s", always(data[:3], data[3:10], data[10:])) as client:
        assert await client.call(ASK, Begun) == ANSWER
        assert await client.call(ASK, Begun) == ANSWER


async def test_a_refusal_is_raised_as_what_it_was(tmp_path: Path) -> None:
    failed = failure(IssuerRefused(Refusal.TOKEN, "no"))

    async with answering(tmp_path / "s", always(framed(failed))) as client:
        with pytest.raises(IssuerRefused) as caught:
            await client.call(ASK, Begun)

    assert caught.value.reason is Refusal.TOKEN


async def test_a_reply_of_another_kind_is_no_answer(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", always(framed(Done()))) as client:
        with pytest.raises(IssuerUnavailable):
            await client.call(ASK, Changes)


async def test_bytes_that_are_no_reply_are_told_apart_from_silence(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", always(encode_frame(b"hello"))) as client:
        with pytest.raises(IssuerUnready):
            await client.call(ASK, Begun)

    async with answering(tmp_path / "t", always(b"\0\0\0\0")) as client:
        with pytest.raises(IssuerUnavailable):
            await client.call(ASK, Begun)


async def test_an_issuer_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        await IssuerClient(tmp_path / "missing").call(ASK, Begun)

    assert caught.value.retryable


async def test_an_issuer_that_says_nothing_is_unavailable_at_the_deadline(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", always()) as client:
        with pytest.raises(IssuerUnavailable):
            await client.call(ASK, Begun, deadline_s=0.1)


async def test_a_late_reply_is_never_taken_for_the_next_answer(tmp_path: Path) -> None:
    release = asyncio.Event()
    answers = [Begun(nonce=bytes([n]) * 32, trust=b"") for n in range(2)]

    async def slow_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            answer = answers.pop(0)
            if answer.nonce == bytes(32):
                await release.wait()
            writer.write(framed(answer))

    async with answering(tmp_path / "s", slow_once) as client:
        with pytest.raises(IssuerUnavailable):
            await client.call(ASK, Begun, deadline_s=0.1)
        release.set()

        assert (await client.call(ASK, Begun)).nonce == b"\1" * 32


async def test_a_connection_that_died_while_idle_is_replaced_at_once(tmp_path: Path) -> None:
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.read(65_536)
        served += 1
        writer.write(framed(ANSWER))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with answering(tmp_path / "s", once) as client:
        for _ in range(3):
            assert await client.call(ASK, Begun) == ANSWER

    assert served == 3


async def test_no_more_connections_are_opened_than_allowed(tmp_path: Path) -> None:
    under_way, most = 0, 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        while await reader.read(65_536):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            writer.write(framed(ANSWER))

    async with answering(tmp_path / "s", handle) as client:
        await asyncio.gather(*(client.call(ASK, Begun) for _ in range(10)))

    assert most == 2
