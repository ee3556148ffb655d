"""The one long-lived connection over which sealed batches go to the collector.

Batches are sent as the bytes they were stored as, at most a window of them without a receipt. A
receipt is passed to `sense`, which alone judges it. Whatever ends the connection, the next one
begins with the oldest batch that is still there; the collector knows duplicates by their names.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeAlias

import grpc.aio
from msgspec import Struct

from agent.doorframes import Damaged, FromShip, HintFrame, ReceiptFrame, Uplink
from agent.errors import Unreachable
from agent.settings import UplinkSettings
from agent.ship.reader import OutboxReader
from proto import codec
from proto.errors import WireError
from proto.model import MESSAGE_BYTES_MAX, HintKind, Receipt
from proto.vedette.v1.envelope_pb2 import Refused, Reply, Resume, SignedReceipt
from runtime.errors import VedetteError
from runtime.logs import logger

PUSH = "/vedette.v1.Intake/Push"

log = logger(__name__)

_Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"


class DoorSender(Protocol):
    """Where receipts and hints go."""

    async def send(self, frame: FromShip) -> None:
        """Send a frame to `sense`."""
        ...


class UplinkCounts(Struct):
    """What the uplink has done since the start."""

    batches_sent: int = 0
    receipts: int = 0
    refused: int = 0
    sessions: int = 0
    is_online: bool = False


class Session:
    """One stream, from its opening to whatever ends it.

    Args:
        channel: connected by mutual TLS.
        reader: the outbox, rewound.
        door: to `sense`.
        settings: window and waits.
        counts: added to.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        reader: OutboxReader,
        door: DoorSender,
        settings: UplinkSettings,
        counts: UplinkCounts,
    ) -> None:
        self._channel = channel
        self._reader = reader
        self._door = door
        self._settings = settings
        self._counts = counts
        self._in_flight: dict[tuple[bytes, int], float] = {}
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._paused_until = 0.0
        self.on_renew: Callable[[], None] | None = None

    def wake(self) -> None:
        """Take note that the outbox may show more."""
        self._news.set()

    async def run(self) -> None:
        """Send and receive until the stream ends.

        Raises:
            Unreachable: always; with what ended it.
        """
        call: _Call = self._channel.stream_stream(
            PUSH, request_serializer=None, response_deserializer=None
        )()
        sending = asyncio.ensure_future(self._send(call))  # noqa: TID251  (awaited below)
        try:
            await self._receive(call, sending)
        except grpc.aio.AioRpcError as error:
            raise Unreachable(
                f"the collector ended the stream: {error.code().name.lower()}: {error.details()}"
            ) from error
        except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            raise Unreachable("the stream ended while a batch was written") from error
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if self._counts.is_online:
                self._counts.is_online = False
                await self._door.send(Uplink(is_online=False))
        raise Unreachable("the collector ended the stream")

    async def _receive(self, call: _Call, sending: asyncio.Future[None]) -> None:
        async for raw in _replies(call, sending, self._settings, self._waits):
            if not self._counts.is_online:
                self._counts.is_online = True
                await self._door.send(Uplink(is_online=True))
                log.info("connected to the collector")
            await self._take(_reply(raw))

    def _waits(self) -> bool:
        return bool(self._in_flight)

    async def _take(self, reply: Reply) -> None:
        match reply.WhichOneof("kind"):
            case "receipt":
                await self._take_receipt(reply.receipt)
            case "resume":
                self._take_resume(reply.resume)
            case "refused":
                self._take_refused(reply.refused)
            case "hint":
                await self._take_hint(reply.hint.kind)
            case _:
                # Something newer than this version; a hint by design.
                return

    async def _take_receipt(self, signed: SignedReceipt) -> None:
        try:
            receipt = codec.decode_receipt(signed.payload)
        except WireError as error:
            raise Unreachable("the collector sent a receipt that is none") from error
        self._counts.receipts += 1
        # Bodies are kept for a while after their receipt: they need not travel again.
        self._reader.skip_below(receipt.epoch, receipt.seq + 1)
        self._settle(receipt)
        await self._door.send(ReceiptFrame(signed.payload, signed.signature, signed.key_id))

    def _settle(self, receipt: Receipt) -> None:
        ahead = {item.seq for item in receipt.ahead}
        for epoch, seq in list(self._in_flight):
            if epoch == receipt.epoch and (seq <= receipt.seq or seq in ahead):
                del self._in_flight[epoch, seq]
        self._room.set()

    def _take_resume(self, resume: Resume) -> None:
        """The collector says where it stands: go on from there."""
        self._reader.resume(resume.epoch, resume.seq)
        self._in_flight.clear()
        self._room.set()
        self._news.set()

    def _take_refused(self, refused: Refused) -> None:
        self._counts.refused += 1
        if refused.retry:
            raise Unreachable(
                f"the collector is not taking batches now: reason {refused.reason}",
                hint=f"trying again in {refused.retry_after / 1e9:.0f} s",
            )
        # Final for this batch. It stays in the outbox and the collector counts the hole.
        log.warning("batch refused", reason=refused.reason, header=refused.header_hash.hex())
        if self._in_flight:
            del self._in_flight[next(iter(self._in_flight))]
        self._room.set()

    async def _take_hint(self, kind: int) -> None:
        names = {number: name for name, number in _HINTS.items()}
        hint = names.get(kind)
        if hint is HintKind.RENEW:
            if self.on_renew is not None:
                self.on_renew()
        elif hint is not None:
            await self._door.send(HintFrame(hint))

    async def _send(self, call: _Call) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            self._room.clear()
            if len(self._in_flight) >= self._settings.window_batches_max:
                await self._room.wait()
                continue
            pending, damaged = self._reader.next()
            await self._report(damaged)
            if pending is None:
                # Where something was damaged there may be more behind it.
                if not damaged:
                    await self._news.wait()
                continue
            self._in_flight[pending.epoch, pending.seq] = loop.time()
            await call.write(pending.payload)
            self._counts.batches_sent += 1

    async def _report(self, damaged: tuple[Damaged, ...]) -> None:
        for frame in damaged:
            await self._door.send(frame)


async def _replies(
    call: _Call,
    sending: asyncio.Future[None],
    settings: UplinkSettings,
    waits: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """Yield replies; ends with the sending, and when a receipt is owed for too long."""
    is_first = True
    while True:
        limit = settings.connect_timeout_s if is_first else settings.receipt_timeout_s
        # Cancelling a read cancels the call, so the read outlives the wait for it.
        reading = asyncio.ensure_future(call.read())  # noqa: TID251  (awaited in this function)
        try:
            while not reading.done():
                at_work: set[asyncio.Future[Any]] = {reading}
                if not sending.done():
                    at_work.add(sending)
                done, _ = await asyncio.wait(
                    at_work, timeout=limit, return_when=asyncio.FIRST_COMPLETED
                )
                if sending in done:
                    _raise_ours(sending)
                if not done and (is_first or waits() or sending.done()):
                    raise Unreachable("no answer from the collector")
        finally:
            reading.cancel()
        raw = reading.result()
        if not isinstance(raw, bytes):
            return
        is_first = False
        yield raw


def _raise_ours(sending: asyncio.Future[None]) -> None:
    """Raise what ended the sending, if it was not the end of the stream: that is read as such."""
    error = None if sending.cancelled() else sending.exception()
    if isinstance(error, VedetteError):
        raise error


def _reply(raw: bytes) -> Reply:
    try:
        return codec.parse_message(Reply, raw, MESSAGE_BYTES_MAX)
    except WireError as error:
        raise Unreachable("the collector sent a reply that is none") from error


_HINTS = {
    HintKind.CONTENT_CHANGED: 1,
    HintKind.RENEW: 2,
    HintKind.REPORT_HEAD: 3,
    HintKind.RESEND_INVENTORY: 4,
}


def channel_options(settings: UplinkSettings) -> list[tuple[str, int]]:
    """Return the options of the one channel: its keepalive agrees with the collector's policy."""
    return [
        ("grpc.keepalive_time_ms", settings.keepalive_s * 1000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.enable_retries", 0),
    ]
