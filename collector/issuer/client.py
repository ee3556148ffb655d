"""Asking the issuer from an event loop: a few connections kept open, a deadline on everything."""

import asyncio
import contextlib
from pathlib import Path
from typing import TypeVar

from collector.errors import IssuerUnavailable
from collector.issuer.messages import (
    FRAME_BYTES_MAX,
    Failed,
    Reply,
    Request,
    decode_reply,
    encode,
    raise_failure,
)
from runtime.frames import BadFrame, FrameDecoder, encode_frame

READ_BYTES_MAX = 65_536
DEADLINE_S = 15.0
CONNECTIONS_MAX = 16

R = TypeVar("R", bound=Reply)


class _Connection:
    """One request, then its reply, then the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder(FRAME_BYTES_MAX)

    async def exchange(self, request: Request) -> Reply:
        self._writer.write(encode_frame(encode(request)))
        await self._writer.drain()
        while True:
            data = await self._reader.read(READ_BYTES_MAX)
            if not data:
                raise ConnectionResetError("the issuer closed the connection")
            frames = self._decoder.feed(data)
            if frames:
                return decode_reply(frames[0])

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class IssuerClient:
    """Asks one issuer; safe for any number of tasks of one loop.

    Args:
        socket: the issuer's Unix socket.
        connections_max: how many requests are under way at once; the others wait.
    """

    def __init__(self, socket: Path, connections_max: int = CONNECTIONS_MAX) -> None:
        self._socket = socket
        self._free: list[_Connection] = []
        self._slots = asyncio.Semaphore(connections_max)

    async def call(self, request: Request, expected: type[R], deadline_s: float = DEADLINE_S) -> R:
        """Ask and return the reply.

        Args:
            request: what is asked.
            expected: the kind of reply that answers it.
            deadline_s: how long everything may take; for ``Watch`` more than its own wait.

        Raises:
            IssuerRefused: a rule was broken.
            IssuerBusy: a limit was reached.
            IssuerUnready: the issuer has a problem of its own.
            IssuerUnavailable: it does not answer; the same request may be sent again.
        """
        try:
            async with asyncio.timeout(deadline_s), self._slots:
                reply = await self._exchange(request)
        except (OSError, BadFrame, TimeoutError) as error:
            raise IssuerUnavailable(f"the issuer does not answer on {self._socket}") from error
        if isinstance(reply, Failed):
            raise_failure(reply)
        if not isinstance(reply, expected):
            raise IssuerUnavailable("the issuer answered something else")
        return reply

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._free:
            await self._free.pop().close()

    async def _exchange(self, request: Request) -> Reply:
        while self._free:
            # One that was left open may be dead by now: the issuer was restarted.
            with contextlib.suppress(ConnectionError):
                return await self._on(self._free.pop(), request)
        reader, writer = await asyncio.open_unix_connection(self._socket)
        return await self._on(_Connection(reader, writer), request)

    async def _on(self, connection: _Connection, request: Request) -> Reply:
        try:
            reply = await connection.exchange(request)
        except BaseException:
            # A late reply must never be taken for the answer to the next request.
            connection.abort()
            raise
        self._free.append(connection)
        return reply
