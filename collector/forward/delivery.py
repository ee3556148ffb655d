"""The one loop behind every sink: read, send, ask, commit; wait, park or set aside.

Three kinds of failure, told apart by type and never mixed: the receiver cannot *now* (wait with
full jitter, for as long as it takes), it will not *as we are set up* (park, say it once, try
slowly), it will never take *this event* (find it, set it aside with the reason, go on).

The durable cursor moves in one transaction with what it passes: counts, dead letters. Whatever was
sent and not committed is sent again after a crash, with the same event ids.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from msgspec import Struct, structs

from collector.errors import LedgerError
from collector.forward.account import Account
from collector.forward.errors import (
    ForwardError,
    SinkMisconfigured,
    SinkRejected,
    SinkUnavailable,
)
from collector.forward.event import Place
from collector.forward.feed import Feed
from collector.forward.ports import Sent, Sink, TenantLedger
from collector.forward.settings import AnyDestination
from collector.forward.states import Phase, State
from collector.forward.store import ForwardStore, Health
from collector.forward.window import Parcel, Window
from runtime.backoff import Backoff
from runtime.clock import NS_PER_S, Clock
from runtime.logs import logger

T = TypeVar("T")

CLOSE_WAIT_S_MAX = 10.0
REDRIVE_EVENTS_MAX = 100


class Tools(Struct, frozen=True):
    """What every delivery shares.

    Args:
        clock: the source of time.
        random: floats in [0, 1), to spread retries.
        pool: threads for reading, encoding, packing and committing. Not the event loop's own, which
            name look-ups of an unreachable receiver may fill.
    """

    clock: Clock
    random: Callable[[], float]
    pool: Executor


class Delivery:
    """Forwards one tenant's events to one destination.

    Args:
        ledger: what the tenant has to forward.
        store: how far each of the tenant's destinations has come.
        destination: where to.
        sink: speaks the destination's protocol.
        tools: clock, randomness and threads.
    """

    def __init__(
        self,
        ledger: TenantLedger,
        store: ForwardStore,
        destination: AnyDestination,
        sink: Sink,
        tools: Tools,
    ) -> None:
        patience = destination.patience
        self._destination = destination
        self._patience = patience
        self._source = ledger.source
        self._store = store
        self._account = Account(destination.name, store, destination.letters_max, tools.clock)
        self._sink = sink
        self._tools = tools
        self._clock = tools.clock
        self._feed = Feed(ledger, destination, sink, tools.clock)
        self._window = Window()
        self._health = Health(Phase.RUNNING)
        self._backoff = Backoff(
            wait_s_first=patience.retry_wait_s_first,
            wait_s_max=patience.retry_wait_s_max,
            random=tools.random,
        )
        self._has_begun = False
        self._not_before_ns = 0
        self._ask_ns = 0
        self._bell = asyncio.Event()
        self._log = logger(__name__).bind(tenant=str(ledger.tenant), destination=destination.name)

    @property
    def health(self) -> Health:
        """How the destination is now."""
        return self._health

    @property
    def cursor(self) -> Place:
        """How far everything is settled; what is committed may be a moment behind."""
        return self._account.cursor

    def wake(self) -> None:
        """Say that there may be new batches."""
        self._bell.set()

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            while True:
                self._bell.clear()  # first: what rings during the turn wakes after it
                rest_s = await self.turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest_s):
                        await self._bell.wait()
        finally:
            # What the receiver said stands, also where the commit for it was interrupted.
            with contextlib.suppress(LedgerError):
                await self._commit()
            await self._close()

    async def turn(self) -> float:
        """Do what is due and return how many seconds there is nothing to do unless woken."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._not_before_ns:
            return (self._not_before_ns - now_ns) / NS_PER_S
        try:
            await self._begin()
            await self._ask()
            await self._send()
        except SinkUnavailable as error:
            self._wait(error)
        except SinkMisconfigured as error:
            await self._park(error)
        except LedgerError as error:
            self._stall(error)
        try:
            await self._commit()
        except LedgerError as error:
            self._stall(error)
        return self._rest_s()

    async def _begin(self) -> None:
        """Find the cursor, once."""
        if not self._has_begun:
            await self._in_thread(self._begin_now)
            self._has_begun = True

    def _begin_now(self) -> None:
        mark = self._source.mark()
        start = mark if self._destination.start == "end" else 0
        begun = self._account.begin(start, mark)
        if begun.was_ahead:
            self._log.warning("ledger ends before the cursor, as after a restore", mark=mark)
        self._feed.begin(self._account.cursor, begun.log_size)

    # ------------------------------------------------------------------------ what became of it

    async def _ask(self) -> None:
        """Learn what became of payloads that were sent before."""
        open_ = self._window.open()
        now_ns = self._clock.monotonic_ns()
        if not open_ or now_ns < self._ask_ns:
            return
        self._ask_ns = now_ns + int(self._sink.ask_wait_s * NS_PER_S)
        async with self._deadline():
            answers = await self._sink.ask(list(open_))
        for token, state in answers.items():
            open_[token].moved(state)
        if any(state is not State.QUEUED for state in answers.values()):
            self._works()

    async def _send(self) -> None:
        """Send what waits, and read on meanwhile."""
        count_max = self._sink.in_flight_max if self._health.phase is Phase.RUNNING else 1
        if not self._window.unsent(1):
            await self._in_thread(self._fill)
        parcels = self._window.unsent(count_max)
        if parcels:
            answers, stalled = await asyncio.gather(self._send_all(parcels), self._fill_beside())
            self._apply(parcels, answers)
            if stalled is not None:
                raise stalled

    async def _fill_beside(self) -> LedgerError | None:
        """Read on while payloads are sent, whose answers must not get lost by an error here."""
        try:
            await self._in_thread(self._fill)
        except LedgerError as error:
            return error
        return None

    def _fill(self) -> None:
        if self._health.phase is Phase.PARKED:
            # Somebody may have made room.
            self._account.recount_letters()
        letters = self._store.to_redrive(self._destination.name, REDRIVE_EVENTS_MAX)
        self._feed.fill(self._window, letters, 2 * self._sink.in_flight_max)

    async def _send_all(self, parcels: Sequence[Parcel]) -> list[Sent | ForwardError]:
        return await asyncio.gather(*(self._send_one(parcel) for parcel in parcels))

    async def _send_one(self, parcel: Parcel) -> Sent | ForwardError:
        encoded = [item.encoded for item in parcel.items]
        payload = await self._in_thread(self._sink.pack, encoded)
        try:
            async with self._deadline():
                return await self._sink.send(payload)
        except ForwardError as error:
            return error

    def _apply(self, parcels: Sequence[Parcel], answers: Sequence[Sent | ForwardError]) -> None:
        """Note what the receiver said of each payload, then raise the worst of it.

        Raises:
            SinkUnavailable: it cannot take more now.
            SinkMisconfigured: it takes nothing as we are set up.
        """
        failures: list[ForwardError] = []
        for parcel, answer in zip(parcels, answers, strict=True):
            if parcel.sends:
                self._account.resent(len(parcel.items))
            parcel.sends += 1
            match answer:
                case Sent():
                    parcel.moved(answer.state, answer.token)
                case SinkRejected():
                    failures += self._refused(parcel, answer)
                case _:
                    failures.append(answer)
        for kind in (SinkMisconfigured, SinkUnavailable):
            for failure in failures:
                if isinstance(failure, kind):
                    raise failure
        # A refused event proves a receiver that works; a payload that was only written does not.
        if any(
            not isinstance(answer, Sent) or answer.state is not State.SENT for answer in answers
        ):
            self._works()

    def _refused(self, parcel: Parcel, refusal: SinkRejected) -> list[ForwardError]:
        """Look for the bad event, or set it aside where it was sent alone."""
        if len(parcel.items) > 1:
            self._window.replace(parcel, parcel.split(refusal.index))
        elif parcel.items[0].letter is None and not self._account.has_room_for_letters(
            self._window
        ):
            return [
                SinkMisconfigured(
                    "as many events are set aside as are allowed",
                    hint="see why with dlq ls; repair it, then dlq redrive",
                )
            ]
        else:
            parcel.reason = refusal.message
            parcel.moved(State.DEAD)
        return []

    # ------------------------------------------------------------------------------ how it goes

    def _works(self) -> None:
        """Note that the receiver took something."""
        self._backoff.reset()
        self._be(Phase.RUNNING)

    def _wait(self, error: SinkUnavailable) -> None:
        wait_s = max(self._backoff.next_s(), error.retry_after_s)
        self._not_before_ns = self._clock.monotonic_ns() + int(wait_s * NS_PER_S)
        self._be(Phase.WAITING, str(error))

    async def _park(self, error: SinkMisconfigured) -> None:
        self._be(Phase.PARKED, str(error))
        self._backoff.reset()
        wait_ns = int(self._patience.probe_wait_s * NS_PER_S)
        self._not_before_ns = self._clock.monotonic_ns() + wait_ns
        await self._close()
        # What was not answered on the old connection never will be.
        self._window.requeue_open()

    def _stall(self, error: LedgerError) -> None:
        wait_ns = int(self._backoff.next_s() * NS_PER_S)
        self._not_before_ns = self._clock.monotonic_ns() + wait_ns
        self._be(Phase.STALLED, str(error))

    def _be(self, phase: Phase, detail: str = "") -> None:
        """Note how the destination is, and say it where that is new."""
        before = self._health.phase
        self._health = Health(phase, detail, self._sink.degraded)
        if phase is before:
            return
        match phase:
            case Phase.RUNNING:
                self._log.info("destination takes events again", after=before)
            case Phase.WAITING:
                self._log.warning("destination is unavailable; retrying", detail=detail)
            case Phase.PARKED:
                self._log.error("destination is parked until somebody acts", detail=detail)
            case Phase.STALLED:
                self._log.error("forwarding is stalled by our own storage", detail=detail)

    # ---------------------------------------------------------------------------------- commit

    async def _commit(self) -> None:
        """Write what is settled."""
        if not self._has_begun:
            return
        settled = self._window.take_settled()
        self._account.settle(settled)
        for parcel in settled:
            for item in parcel.items:
                if item.letter is not None:
                    self._feed.redriven(item.letter)
        if not self._window and self._feed.is_empty:
            self._account.passed(self._feed.read_to)
        self._health = structs.replace(self._health, degraded=self._sink.degraded)
        oldest = self._oldest()
        if self._account.is_due(self._health, oldest):
            await self._in_thread(self._account.write, self._health, oldest)

    def _oldest(self) -> int | None:
        first = self._window.oldest_received()
        return self._feed.oldest_received() if first is None else first

    def _rest_s(self) -> float:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._not_before_ns:
            return (self._not_before_ns - now_ns) / NS_PER_S
        if self._window.unsent(1) or self._feed.has_more:
            return 0
        waits = [self._patience.poll_wait_s, self._feed.due_s()]
        if self._window.open():
            waits.append(max(0, self._ask_ns - now_ns) / NS_PER_S)
        return min(wait for wait in waits if wait is not None)

    # ----------------------------------------------------------------------------------- tools

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT_S_MAX):
                await self._sink.close()

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience.send_timeout_s):
                yield
        except TimeoutError as error:
            wait_s = self._patience.send_timeout_s
            raise SinkUnavailable(f"no answer within {wait_s:g} s") from error

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tools.pool, work, *arguments)
