"""The issuer's process: one Unix socket, one thread for keys and database, bounded everywhere.

The event loop only moves frames. What a request needs of keys, files and SQLite is done in one
thread of its own, one request after the other, so that an fsync never stops the loop and no two
operations ever see each other half done. A request that takes too long is answered as busy; what
it did is found again by sending it again.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from collector.issuer.desk import Desk, check_home
from collector.issuer.errors import IssuerBusy, IssuerError, IssuerUnready
from collector.issuer.messages import (
    FRAME_BYTES_MAX,
    Changes,
    Reply,
    Request,
    Watch,
    decode_request,
    encode,
    failure,
)
from collector.issuer.operations import OPEN, READING, Caller, perform
from collector.issuer.peers import caller_of
from collector.issuer.ratecap import RateCap
from collector.issuer.settings import IssuerSettings
from runtime.clock import Clock
from runtime.errors import VedetteError
from runtime.files import FileLock
from runtime.frames import BadFrame, FrameDecoder, encode_frame
from runtime.logs import logger
from runtime.supervise import spawn

TIDY_EVERY_S = 60
READ_BYTES_MAX = 65_536
STOP_WAIT_S_MAX = 5
_BACKLOG = 128

_log = logger(__name__)


async def serve(
    settings: IssuerSettings, clock: Clock, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until told to stop.

    Args:
        settings: what the issuer is told.
        clock: the source of time.
        stop: set from outside to end.
        ready: called once when requests are taken.

    Raises:
        AlreadyRunning: another issuer has this home.
        IssuerUnready: nothing is set up, it cannot be opened, or the socket cannot be made.
    """
    check_home(settings.home)
    lock = FileLock(settings.home / "issuer.lock")
    lock.acquire()
    try:
        with Desk(settings, clock) as desk, listening(settings) as listener:
            await IssuerServer(desk).run(listener, stop, ready)
    finally:
        lock.release()


class IssuerServer:
    """Serves one desk.

    Args:
        desk: the issuer's open state.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._rate = RateCap(desk.settings.requests_per_s_max, desk.clock.monotonic_ns())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="issuer")
        self._pending = 0
        self._changed = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    async def run(
        self, listener: socket.socket, stop: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        """Serve a bound socket until told to stop, then end what is under way.

        Args:
            listener: a Unix socket that is bound.
            stop: set from outside to end.
            ready: called once when requests are taken.

        Raises:
            IssuerUnready: the database cannot be written any more.
        """
        server = await asyncio.start_unix_server(self._connected, sock=listener, backlog=_BACKLOG)
        _log.info("issuer started", socket=self._settings.socket)
        try:
            async with asyncio.TaskGroup() as group:
                tidying = spawn(group, self._keep_tidy(), "issuer-tidy")
                ready()
                await stop.wait()
                tidying.cancel()
        finally:
            server.close()
            await self._end()
            _log.info("issuer stopped")

    async def _end(self) -> None:
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=STOP_WAIT_S_MAX)
        await asyncio.to_thread(self._thread.shutdown)

    async def _keep_tidy(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._thread, self._desk.tidy)
            except IssuerUnready as error:
                _log.warning("issuer cannot tidy its database", error=error)
            await asyncio.sleep(TIDY_EVERY_S)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._settings.connections_max:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, BadFrame):
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = caller_of(writer.get_extra_info("socket"), self._settings)
        decoder = FrameDecoder(FRAME_BYTES_MAX)
        partial = False
        while True:
            # A frame that was begun has to end; a silent connection may stay.
            async with asyncio.timeout(self._settings.operation_s_max if partial else None):
                data = await reader.read(READ_BYTES_MAX)
            if not data:
                return
            frames = decoder.feed(data)
            partial = not frames
            for frame in frames:
                reply = await self._answer(frame, caller)
                writer.write(encode_frame(encode(reply)))
                async with asyncio.timeout(self._settings.operation_s_max):
                    await writer.drain()

    async def _answer(self, frame: bytes, caller: Caller) -> Reply:
        try:
            request = decode_request(frame)
            if isinstance(request, Watch):
                return await self._watch(request, caller)
            if type(request) in OPEN:
                self._rate.take(self._desk.clock.monotonic_ns())
            return await self._perform(request, caller)
        except IssuerError as error:
            return failure(error)
        except VedetteError as error:
            _log.error("issuer met an error it should have named", error=error)
            return failure(IssuerUnready(error.message, hint=error.hint))

    async def _watch(self, request: Watch, caller: Caller) -> Reply:
        loop = asyncio.get_running_loop()
        end = loop.time() + min(request.wait_s, self._settings.watch_s_max)
        while True:
            changed = self._changed
            reply = await self._perform(request, caller)
            left_s = end - loop.time()
            if not isinstance(reply, Changes) or reply.revision > request.after or left_s <= 0:
                return reply
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await changed.wait()

    async def _perform(self, request: Request, caller: Caller) -> Reply:
        if self._pending >= self._settings.pending_max:
            raise IssuerBusy("too many requests wait for the database")
        self._pending += 1
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, perform, self._desk, request, caller
        )
        work.add_done_callback(self._done)
        if type(request) not in READING:
            work.add_done_callback(self._notify)
        try:
            async with asyncio.timeout(self._settings.operation_s_max):
                # Shielded: the thread goes on, and counts as pending until it ends.
                return await asyncio.shield(work)
        except TimeoutError as error:
            raise IssuerBusy("the database is slow") from error

    def _done(self, work: "asyncio.Future[Reply]") -> None:
        self._pending -= 1
        if not work.cancelled():
            # Looked at here, so that an error nobody waited for is not reported as forgotten.
            work.exception()

    def _notify(self, _work: "asyncio.Future[Reply]") -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@contextlib.contextmanager
def listening(settings: IssuerSettings) -> Iterator[socket.socket]:
    """Bind the issuer's socket, in place of one that a crash left behind; remove it at the end.

    The caller holds the lock of the issuer's home, so a socket that is there is nobody's.

    Raises:
        IssuerUnready: it cannot be made.
    """
    path = settings.socket
    # Where other users are named, the kernel's word on who they are decides, not the file's mode.
    mode = 0o666 if settings.gateway_uids or settings.admin_uids else 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            if path.is_socket():
                path.unlink()
            umask = os.umask(0o777 & ~mode)
            try:
                listener.bind(str(path))
            finally:
                os.umask(umask)
        except OSError as error:
            raise IssuerUnready(
                f"cannot listen on {path}: {error.strerror or error}",
                hint="its directory must exist and be writable; a path has at most 107 characters",
            ) from error
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
