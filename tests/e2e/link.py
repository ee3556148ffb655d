"""A TCP link between agent and collector that a test can cut, stall or make deaf."""

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

READ_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


class Way(enum.Enum):
    """What the link does with what passes through it."""

    OPEN = "open"
    # Connections end, and new ones too.
    CUT = "cut"
    # Nothing passes; nobody is told.
    STALLED = "stalled"
    # What the agent sends arrives; what the collector answers is lost.
    DEAF = "deaf"


class Link:
    """Forwards one port of loopback to another, on a thread of its own.

    Args:
        target: the port behind it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._way = Way.OPEN
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link")
        self.port = 0
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def turn(self, way: Way) -> None:
        """Behave differently from now on; connections that are broken already are ended."""

        async def turn() -> None:
            was, self._way = self._way, way
            if way is Way.STALLED:
                self._flows.clear()
            else:
                self._flows.set()
            # A stream that has lost bytes cannot go on.
            if way is Way.CUT or was is Way.DEAF:
                self._drop()

        self._call(turn())

    def redirect(self, target: int) -> None:
        """Lead to another port from now on."""

        async def redirect() -> None:
            self._target = target
            self._drop()

        self._call(redirect())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _drop(self) -> None:
        for pair in tuple(self._connections):
            for writer in pair:
                _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._way is Way.CUT:
            _reset(writer)
            return
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        pair = (writer, behind[1])
        self._connections.add(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, behind[1], is_reply=False))
                group.create_task(self._pass_on(behind[0], writer, is_reply=True))
        except* OSError:
            pass
        finally:
            self._connections.discard(pair)
            for end in pair:
                end.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        while data := await reader.read(READ_BYTES):
            await self._flows.wait()
            if self._way is Way.DEAF and is_reply:
                continue
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _close(self) -> None:
        self._server.close()
        self._drop()
        await asyncio.sleep(0.05)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.05)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
