import asyncio
import socket
from pathlib import Path

import pytest

from agent import doorframes as frames
from agent.errors import DoorError, Unreachable
from agent.ship.door import DoorClient
from runtime.frames import FrameDecoder, encode_frame


async def test_the_client_says_hello_and_hears_frames(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.write(encode_frame(frames.encode(frames.KnownCheckpoint(5))))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(behind, tmp_path / "door")
    client = DoorClient(tmp_path / "door")
    await client.connect()

    found = [frame async for frame in client.frames()]

    assert found == [frames.KnownCheckpoint(5)]
    assert frames.decode_from_ship(FrameDecoder(100).feed(heard[0])[0]) == frames.Hello(1)
    assert not client.is_open
    server.close()


async def test_a_closed_door_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await DoorClient(tmp_path / "none").connect()


async def test_frames_without_a_connection_are_dropped(tmp_path: Path) -> None:
    client = DoorClient(tmp_path / "none")

    await client.send(frames.MetricsWanted())

    assert not client.is_open


async def test_bytes_that_are_no_frames_are_refused(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(encode_frame(b"junk"))
    client = DoorClient(tmp_path, connect=lambda _path: asyncio.open_unix_connection(sock=ours))
    await client.connect()

    with pytest.raises(DoorError):
        async for _ in client.frames():
            pass

    await client.close()
    theirs.close()
