"""The networked daemon: the door on one side, the collector on the other.

It holds no evidence and decides nothing about it. A lost connection, a restart of `sense` or a
refused certificate each end one task's turn; the others go on.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc.aio
from msgspec import Struct

from agent.doorframes import (
    CHUNK_BYTES_MAX,
    CheckpointFrame,
    Chunk,
    Fetch,
    FromSense,
    KnownCheckpoint,
    MetricsFrame,
    MetricsWanted,
    Sample,
    Signed,
    SignRequest,
    Uplink,
    VisibleFrame,
)
from agent.errors import Unreachable
from agent.identity import AgentIdentity
from agent.settings import MetricsSettings, PathSettings, UplinkSettings
from agent.ship import collector
from agent.ship.credentials import Credentials, load_credentials, save_identity
from agent.ship.door import DoorClient
from agent.ship.metrics import MetricsServer
from agent.ship.newkey import NewKey, make_key
from agent.ship.reader import OutboxReader
from agent.ship.uplink import Session, UplinkCounts, channel_options
from certs.trust import Trust
from proto.content.names import MISSING
from proto.model import StatementKind
from runtime.backoff import Backoff
from runtime.clock import NS_PER_S, Clock
from runtime.errors import VedetteError
from runtime.logs import logger
from runtime.supervise import spawn

# `sense` is back within a second after a crash, and until then nothing goes out.
DOOR_RETRY_S_FIRST = 0.1
DOOR_RETRY_S_MAX = 1.0
SIGN_TIMEOUT_S = 20
CHECKPOINT_WAIT_S_FIRST = 5
CHECKPOINT_INTERVAL_S = 300
RENEW_CHECK_S = 60
RENEW_RETRY_S = 300
METRICS_WAIT_S = 2
FETCHES_AT_ONCE_MAX = 4

log = logger(__name__)


class Parts(Struct, kw_only=True):
    """What `Ship` is made of; `agent.ship.wiring` fills it."""

    identity: AgentIdentity
    trust: Trust
    paths: PathSettings
    uplink: UplinkSettings
    metrics: MetricsSettings
    clock: Clock
    random: Callable[[], float]


class Ship:
    """Long-lived tasks around one channel."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._door = DoorClient(Path(parts.paths.door))
        self._reader = OutboxReader(Path(parts.paths.outbox), parts.uplink.ahead_batches_max)
        self._counts = UplinkCounts()
        self._credentials = load_credentials(Path(parts.paths.ship))
        self._channel: grpc.aio.Channel | None = None
        self._session: Session | None = None
        self._signed: dict[int, asyncio.Future[Signed]] = {}
        self._next_id = 0
        self._renew_now = asyncio.Event()
        self._renewed = asyncio.Event()
        self._known_log_size = 0
        self._samples: tuple[Sample, ...] = ()
        self._samples_here = asyncio.Event()
        self._fetching = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)
        self._jitter = parts.random()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        server = MetricsServer(self._gather)
        try:
            if self._p.metrics.port:
                await self._serve_metrics(server)
            async with asyncio.TaskGroup() as group:
                self._group = group
                spawn(group, self._keep_door(), "door")
                spawn(group, self._keep_uplink(), "uplink")
                spawn(group, self._keep_certificate(), "certificate")
                spawn(group, self._keep_checkpoint(), "checkpoint")
        finally:
            await server.stop()
            await self._door.close()
            self._reader.close()
            if self._channel is not None:
                await self._channel.close()

    async def _serve_metrics(self, server: MetricsServer) -> None:
        try:
            await server.start(self._p.metrics.port)
        except OSError as error:
            # Batches matter more than a scrape port somebody else holds.
            log.warning("no metrics port", port=self._p.metrics.port, reason=error.strerror)

    # -- the door --------------------------------------------------------------------------------

    async def _keep_door(self) -> None:
        was_open = True
        backoff = Backoff(
            wait_s_first=DOOR_RETRY_S_FIRST, wait_s_max=DOOR_RETRY_S_MAX, random=self._p.random
        )
        while True:
            try:
                await self._door.connect()
                # The uplink may have come up before `sense` did.
                await self._door.send(Uplink(is_online=self._counts.is_online))
                log.info("door open")
                was_open = True
                async for frame in self._door.frames():
                    # A door that is shut again at once may stay so for a while.
                    backoff.reset()
                    await self._take(frame)
                log.warning("door closed")
            except VedetteError as error:
                if was_open:
                    log.warning("door closed", reason=str(error))
                was_open = False
                await self._door.close()
            await asyncio.sleep(backoff.next_s())

    async def _take(self, frame: FromSense) -> None:
        match frame:
            case VisibleFrame():
                self._reader.show(frame.segments, is_all=frame.is_all)
                if self._session is not None:
                    self._session.wake()
            case Signed():
                waiting = self._signed.pop(frame.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
            case Fetch():
                # Bounded by the semaphore, and by what `sense` asks for at once.
                if self._group is not None:
                    self._group.create_task(self._fetch(frame))
            case MetricsFrame():
                self._samples = frame.samples
                self._samples_here.set()
            case KnownCheckpoint():
                self._known_log_size = frame.size
            case _:
                return

    async def _fetch(self, frame: Fetch) -> None:
        async with self._fetching:
            chunk = await self._chunk(frame)
            try:
                await self._door.send(chunk)
            except Unreachable:
                # `sense` has gone; it will ask again.
                return

    async def _chunk(self, frame: Fetch) -> Chunk:
        channel = self._channel
        if channel is None:
            return Chunk(frame.id, b"", 0, "not connected")
        try:
            data, total = await collector.content_chunk(channel, frame.name, frame.offset)
        except Unreachable as error:
            # The update workflow looks for the next root until there is none: that is no failure.
            is_missing = isinstance(error, collector.CallFailed) and error.is_missing
            return Chunk(frame.id, b"", 0, MISSING if is_missing else str(error)[:200] or "failed")
        if len(data) > CHUNK_BYTES_MAX:
            return Chunk(frame.id, b"", 0, "the collector sent too large a piece")
        return Chunk(frame.id, data, total)

    # -- the uplink ------------------------------------------------------------------------------

    async def _keep_uplink(self) -> None:
        backoff = Backoff(
            wait_s_first=self._p.uplink.retry_wait_s_first,
            wait_s_max=self._p.uplink.retry_wait_s_max,
            random=self._p.random,
        )
        while True:
            sessions = self._counts.receipts
            self._renewed.clear()
            try:
                await self._connect_once()
            except VedetteError as error:
                log.warning("uplink lost", reason=str(error))
            if self._counts.receipts > sessions:
                backoff.reset()
            # With another certificate there is no reason to wait.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_s()):
                    await self._renewed.wait()

    async def _connect_once(self) -> None:
        self._counts.sessions += 1
        channel = self._open_channel(self._credentials)
        self._channel = channel
        self._reader.rewind()
        session = Session(channel, self._reader, self._door, self._p.uplink, self._counts)
        session.on_renew = self._renew_now.set
        self._session = session
        running = asyncio.ensure_future(session.run())  # noqa: TID251  (awaited below)
        renewed = asyncio.ensure_future(self._renewed.wait())  # noqa: TID251
        try:
            await asyncio.wait((running, renewed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when `ship` is told to stop: a session left alone outlives its channel.
            for task in (running, renewed):
                task.cancel()
            await asyncio.gather(running, renewed, return_exceptions=True)
            self._session = None
            self._channel = None
            await collector.close_channel(channel)
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error

    def _open_channel(self, credentials: Credentials) -> grpc.aio.Channel:
        return collector.open_channel(
            self._p.identity.intake,
            self._p.trust.root_pem,
            credentials.identity,
            channel_options(self._p.uplink),
        )

    # -- the certificate -------------------------------------------------------------------------

    async def _keep_certificate(self) -> None:
        while True:
            due = self._credentials.renew_at(self._jitter) - self._p.clock.wall_ns()
            # The wall clock may jump, so it is looked at often rather than slept on.
            wait = min(max(due / NS_PER_S, 0), RENEW_CHECK_S)
            try:
                async with asyncio.timeout(wait):
                    await self._renew_now.wait()
            except TimeoutError:
                if due > RENEW_CHECK_S * NS_PER_S:
                    continue
            self._renew_now.clear()
            try:
                await self._renew()
            except VedetteError as error:
                log.warning("certificate not renewed", reason=str(error))
                await asyncio.sleep(RENEW_RETRY_S)

    async def _renew(self) -> None:
        made = await make_key()
        now = self._p.clock.wall_ns()
        is_expired = now >= self._credentials.not_after
        issued = await (self._reattested(made) if is_expired else self._renewed_by(made))
        directory = Path(self._p.paths.ship)
        save_identity(directory, made.key, (issued.chain, now, issued.not_after))
        self._credentials = load_credentials(directory)
        self._jitter = self._p.random()
        log.info("certificate renewed", valid_s=(issued.not_after - now) // NS_PER_S)
        self._renewed.set()

    async def _renewed_by(self, made: NewKey) -> collector.Issued:
        channel = self._channel
        if channel is None:
            raise Unreachable("not connected")
        nonce = await collector.challenge(channel)
        statement = await self._ask_signature(StatementKind.RENEW, made, nonce)
        return await collector.renew(channel, made.csr, statement)

    async def _reattested(self, made: NewKey) -> collector.Issued:
        """Come back from a time too long for the certificate: the signing key still counts."""
        identity = self._p.identity
        channel = collector.open_channel(identity.enrollment, self._p.trust.root_pem, None)
        try:
            nonce, _ = await collector.begin(channel, identity.peer.tenant.bytes)
            statement = await self._ask_signature(StatementKind.REATTEST, made, nonce)
            return await collector.reattest(channel, made.csr, statement)
        finally:
            await collector.close_channel(channel)

    async def _ask_signature(
        self, kind: StatementKind, made: NewKey, nonce: bytes
    ) -> tuple[bytes, bytes]:
        """Return a statement and its signature, by `sense`.

        Raises:
            Unreachable: it does not answer, or does not sign.
        """
        self._next_id += 1
        number = self._next_id
        waiting: asyncio.Future[Signed] = asyncio.get_running_loop().create_future()
        self._signed[number] = waiting
        try:
            await self._door.send(SignRequest(number, kind, made.spki_sha256, nonce))
            async with asyncio.timeout(SIGN_TIMEOUT_S):
                signed = await waiting
        except TimeoutError as error:
            raise Unreachable("sense did not sign") from error
        finally:
            self._signed.pop(number, None)
        if signed.refused:
            raise Unreachable(f"sense did not sign: {signed.refused}")
        return signed.payload, signed.signature

    # -- the log ---------------------------------------------------------------------------------

    async def _keep_checkpoint(self) -> None:
        while True:
            is_known = self._known_log_size > 0
            await asyncio.sleep(CHECKPOINT_INTERVAL_S if is_known else CHECKPOINT_WAIT_S_FIRST)
            channel = self._channel
            if channel is None or not self._counts.is_online:
                continue
            try:
                growth = await collector.log_growth(channel, self._known_log_size)
                if growth is not None:
                    await self._door.send(CheckpointFrame(growth.checkpoint, growth.hashes))
            except Unreachable as error:
                log.info("no checkpoint", reason=str(error))

    # -- metrics ---------------------------------------------------------------------------------

    async def _gather(self) -> Iterable[Sample]:
        self._samples_here.clear()
        # The last values are better than none; the uplink's own are always new.
        with contextlib.suppress(Unreachable, TimeoutError):
            await self._door.send(MetricsWanted())
            async with asyncio.timeout(METRICS_WAIT_S):
                await self._samples_here.wait()
        counts = self._counts
        return (
            *self._samples,
            Sample("vedette_agent_uplink_online", (), float(counts.is_online)),
            Sample("vedette_agent_uplink_batches_sent_total", (), counts.batches_sent),
            Sample("vedette_agent_uplink_receipts_total", (), counts.receipts),
            Sample("vedette_agent_uplink_refused_total", (), counts.refused),
            Sample("vedette_agent_uplink_sessions_total", (), counts.sessions),
            Sample(
                "vedette_agent_certificate_expiry_timestamp_seconds",
                (),
                self._credentials.not_after / NS_PER_S,
            ),
        )
