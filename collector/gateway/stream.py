"""The batch stream of every agent: read with a window, answered in order, ended when it must.

A stream has two sides that never wait for each other: one reads and hands over to the writers of
the ledger, the other sends what they answered. A third watches whether it may still be here. It
ends with a status, never by cancelling: a client whose call is cancelled here waits for ever.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from certs.identity import TenantId
from collector.errors import AccessDenied, Denial, LedgerBusy, LedgerError
from collector.gateway.counts import GatewayCounts
from collector.gateway.enforcement import Session
from collector.gateway.intake import BatchRefused, receive
from collector.gateway.messages import hint_reply
from collector.gateway.quota import Rates
from collector.gateway.replies import Replies
from collector.gateway.settings import StreamSettings
from collector.gateway.states import LedgerStates
from collector.ledger.commit import Answer, CommitSettings, Entry, GroupCommit
from collector.ledger.ports import Head, Ledger, Outcome
from collector.ledger.receipts import ReceiptSigner
from proto.model import HintKind, RefusedReason
from runtime.clock import NS_PER_S, Clock
from runtime.logs import logger
from runtime.supervise import cause, spawn

# An agent that has started anew has one epoch; what it left behind may be in a few more.
HEADS_MAX: Final = 4
# How often an idle stream looks whether it may still be here.
GUARD_WAIT_S: Final = 30.0


class Call(Protocol):
    """The stream as gRPC has it (`grpc.aio.ServicerContext`)."""

    async def read(self) -> object:
        """Return the next message as bytes; anything else is the end."""
        ...

    async def write(self, message: bytes) -> None:
        """Send one message."""
        ...


class Stream:
    """One open stream.

    Args:
        session: whose.
        replies: what it has to be told.
    """

    def __init__(self, session: Session, replies: Replies) -> None:
        self.session = session
        self.replies = replies
        self.news = asyncio.Event()
        self.refused_in_row = 0
        self.is_ending = False
        self.reading: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Read no more; the stream ends when what it has sent is answered."""
        if self.reading is not None:
            self.reading.cancel()


Ticket = tuple[Stream, bytes]


class Keeping(Struct, frozen=True):
    """Where batches go, and how that is vouched for.

    Args:
        ledger: the tenants' ledgers.
        states: how they stand.
        signer: signs receipts.
        commit: how much is written together.
    """

    ledger: Ledger
    states: LedgerStates
    signer: ReceiptSigner
    commit: CommitSettings = CommitSettings()


class Intake:
    """Takes batches in; made and used on one event loop.

    Args:
        keeping: where they go.
        settings: limits of a stream.
        clock: stamps what comes.
        counts: added to.
        failed: told when nothing can be written any more, by a fault of ours.
    """

    def __init__(
        self,
        keeping: Keeping,
        settings: StreamSettings,
        clock: Clock,
        counts: GatewayCounts,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._ledger = keeping.ledger
        self._states = keeping.states
        self._signer = keeping.signer
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._rates = Rates(settings)
        self._streams: dict[Stream, None] = {}
        self._progress = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._commit: GroupCommit[Ticket] = GroupCommit(
            keeping.ledger,
            lambda answer: self._later(lambda: self._settle(answer)),
            keeping.commit,
            lambda error: self._later(lambda: failed(error)),
        )
        self._log = logger(__name__)

    def start(self) -> None:
        """Begin to write."""
        self._commit.start()

    async def stop(self) -> bool:
        """Write what waits; return whether all of it was written in time."""
        return await asyncio.to_thread(self._commit.stop)

    def end(self) -> None:
        """Read no more from anyone; every stream ends when what it has sent is answered."""
        for stream in self._streams:
            stream.end()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes are in memory on their way to disk."""
        return self._commit.waiting_bytes

    def hint(self, tenant: TenantId, kind: HintKind) -> None:
        """Tell every connected agent of a tenant something it may like to know."""
        for stream in self._streams:
            if stream.session.identity.tenant == tenant:
                stream.replies.say(hint_reply(kind))
                stream.news.set()

    async def push(self, session: Session, call: Call) -> None:
        """Serve one stream until its end.

        Args:
            session: whose; asked again for every message.
            call: reads and writes.

        Raises:
            AccessDenied: the session is over, or sends nothing that can be kept.
            LedgerError: the ledger cannot be used now.
        """
        tenant = session.identity.tenant
        await self._states.learn(tenant)
        retry_after_ns = int(self._settings.retry_wait_s * NS_PER_S)
        stream = Stream(session, Replies(tenant, self._signer, retry_after_ns))
        stream.replies.greet(await self._heads(session))
        stream.news.set()
        self._displace(session)
        self._streams[stream] = None
        self._counts.streams_open += 1
        try:
            await self._serve(stream, call)
        finally:
            del self._streams[stream]
            self._counts.streams_open -= 1

    def _displace(self, session: Session) -> None:
        """End the oldest of an agent's streams where a new one is one too many.

        A connection that broke without a word is noticed only minutes later; an agent that comes
        again must not find its own ghosts in its way.
        """
        own = [one for one in self._streams if one.session.identity == session.identity]
        for stream in own[: len(own) - self._settings.streams_per_agent_max + 1]:
            stream.end()

    async def _heads(self, session: Session) -> Sequence[Head]:
        identity = session.identity
        return await asyncio.to_thread(
            self._ledger.heads, identity.tenant, identity.agent, HEADS_MAX
        )

    async def _serve(self, stream: Stream, call: Call) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                guarding = spawn(group, _guard(stream.session), "guard")
                writing = group.create_task(_write(stream, call, self._counts), name="replies")
                stream.reading = group.create_task(self._read(stream, call), name="batches")
                await asyncio.wait((stream.reading,))
                await self._drain(stream)
                stream.is_ending = True
                stream.news.set()
                await writing
                guarding.cancel()
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors

    async def _read(self, stream: Stream, call: Call) -> None:
        while isinstance(data := await call.read(), bytes):
            stream.session.check()
            self._take(stream, data)
            now_ns = self._clock.monotonic_ns()
            wait_s = self._rates.take(stream.session.identity, len(data), now_ns)
            if wait_s:
                await asyncio.sleep(wait_s)
            if not self._has_room(stream):
                await self._room(stream)

    def _take(self, stream: Stream, data: bytes) -> None:
        """Check one message and hand it over, or note why not."""
        tenant = stream.session.identity.tenant
        try:
            batch = receive(data, stream.session, self._clock.wall_ns())
        except BatchRefused as refusal:
            self._refuse(stream, refusal)
            return
        try:
            self._commit.submit(tenant, Entry((stream, batch.header_hash), batch))
        except LedgerBusy:
            stream.replies.refuse_for_now(batch.header_hash, RefusedReason.OVERLOADED)
            stream.news.set()
            return
        stream.replies.handed_over()
        stream.refused_in_row = 0
        self._counts.batches += 1
        self._counts.records += batch.header.records
        self._counts.bytes += len(data)

    def _refuse(self, stream: Stream, refusal: BatchRefused) -> None:
        self._counts.refused[refusal.reason] += 1
        stream.replies.refuse(refusal.reason, refusal.header_hash)
        stream.news.set()
        stream.refused_in_row += 1
        if stream.refused_in_row == 1:
            self._log.warning(
                "batch refused",
                agent=str(stream.session.identity.agent),
                reason=refusal.reason,
                error=refusal,
            )
        if stream.refused_in_row > self._settings.refusals_per_stream_max:
            raise AccessDenied(Denial.QUOTA, "nothing that can be kept has come for too long")

    def _has_room(self, stream: Stream) -> bool:
        return stream.replies.in_flight < self._settings.window_batches_max and (
            self._commit.has_room(stream.session.identity.tenant)
        )

    async def _room(self, stream: Stream) -> None:
        """Read no further until there is room for another batch."""
        try:
            async with asyncio.timeout(self._settings.room_wait_s_max):
                while not self._has_room(stream):
                    await self._progress.wait()
        except TimeoutError as error:
            raise LedgerBusy("the ledger takes no more for now") from error

    async def _drain(self, stream: Stream) -> None:
        """Let what was read be answered before the stream ends; the rest is asked for again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_wait_s_max):
                while stream.replies.in_flight:
                    await self._progress.wait()

    def _later(self, work: Callable[[], None]) -> None:
        """Do something on the loop; called on other threads, also when the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(work)

    def _settle(self, answer: Answer[Ticket]) -> None:
        """Tell every stream what became of its batches."""
        if answer.error is not None:
            self._fail(answer, answer.error)
        else:
            self._answer(answer)
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    def _answer(self, answer: Answer[Ticket]) -> None:
        by_stream: dict[Stream, list[tuple[Outcome, bytes]]] = {}
        now = self._clock.wall_ns()
        for entry, outcome in zip(answer.entries, answer.outcomes, strict=True):
            stream, header_hash = entry.ticket
            by_stream.setdefault(stream, []).append((outcome, header_hash))
            if outcome.verdict is not None:
                self._counts.verdicts[outcome.verdict] += 1
            self._counts.acknowledged(now - entry.batch.received)
        self._counts.commits += 1
        for stream, outcomes in by_stream.items():
            stream.replies.answer(outcomes)
            stream.news.set()

    def _fail(self, answer: Answer[Ticket], error: LedgerError) -> None:
        by_stream: dict[Stream, list[bytes]] = {}
        for entry in answer.entries:
            stream, header_hash = entry.ticket
            by_stream.setdefault(stream, []).append(header_hash)
        self._counts.commit_failures += 1
        self._log.error("commit failed", tenant=str(answer.tenant), error=error)
        for stream, hashes in by_stream.items():
            stream.replies.fail(hashes, error)
            stream.news.set()


async def _write(stream: Stream, call: Call, counts: GatewayCounts) -> None:
    """Send what there is to tell, until the stream is ending and nothing is left."""
    while True:
        await stream.news.wait()
        stream.news.clear()
        is_last = stream.is_ending
        before = stream.replies.receipts
        for reply in stream.replies.take():
            await call.write(reply)
        counts.receipts += stream.replies.receipts - before
        if is_last:
            return


async def _guard(session: Session) -> None:
    """End with AccessDenied when the session is over, whether or not anything is sent."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(GUARD_WAIT_S, max(0.0, session.life_s))):
                await session.changed.wait()
        session.check()
