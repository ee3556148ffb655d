"""The networked half's end of the door."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from agent.doorframes import (
    DOOR_VERSION,
    FRAME_BYTES_MAX,
    FromSense,
    FromShip,
    Hello,
    decode_from_sense,
    encode,
)
from agent.errors import DoorError, Unreachable
from runtime.frames import BadFrame, FrameDecoder, encode_frame

_READ_BYTES = 256 * 1024
SEND_TIMEOUT_S = 10

Connect = Callable[[Path], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class DoorClient:
    """A connection to `sense`.

    Args:
        path: of the socket.
        connect: opens it.
    """

    def __init__(self, path: Path, connect: Connect = asyncio.open_unix_connection) -> None:
        self._path = path
        self._connect = connect
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        """Whether `sense` is at the other end."""
        return self._writer is not None

    async def connect(self) -> None:
        """Knock, and say who speaks.

        Raises:
            Unreachable: nobody answers; `sense` may be starting.
        """
        try:
            self._reader, self._writer = await self._connect(self._path)
        except OSError as error:
            raise Unreachable(f"sense does not answer at {self._path}: {error.strerror}") from error
        await self.send(Hello(DOOR_VERSION))

    async def send(self, frame: FromShip) -> None:
        """Send a frame; without a connection it is dropped, for `sense` asks or greets anew.

        Raises:
            Unreachable: `sense` does not read.
        """
        if self._writer is None:
            return
        try:
            self._writer.write(encode_frame(encode(frame)))
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            await self.close()
            raise Unreachable("sense does not read") from error

    async def frames(self) -> AsyncIterator[FromSense]:
        """Yield what `sense` sends, until it ends the connection.

        Raises:
            DoorError: bytes that are not its frames.
        """
        decoder = FrameDecoder(FRAME_BYTES_MAX)
        while self._reader is not None:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError:
                data = b""
            if not data:
                break
            try:
                for raw in decoder.feed(data):
                    yield decode_from_sense(raw)
            except BadFrame as error:
                raise DoorError("not a frame of this door") from error
        await self.close()

    async def close(self) -> None:
        """End the connection; harmless when there is none."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
