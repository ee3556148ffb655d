"""A receiver in memory that behaves as its ``mood`` says, with no network between."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from collector.forward.errors import ForwardError, SinkRejected
from collector.forward.event import Event
from collector.forward.ports import Sent
from collector.forward.states import State


class MemorySink:
    """Takes one uid a line. What arrived stands in ``taken``, in order, duplicates included."""

    def __init__(self, *, settles: State | None = State.ACCEPTED) -> None:
        self.in_flight_max = 2
        self.ask_wait_s = 1.0
        self.degraded = ""
        self.taken: list[str] = []
        self.sends = 0
        self.closes = 0
        # Raised instead of taking anything, while set.
        self.mood: ForwardError | None = None
        self.refuses: Callable[[str], bool] = lambda _: False
        self.tells_index = False
        # None: payloads stay open until `answers` says what became of them.
        self.settles = settles
        self.answers: dict[int, State] = {}
        self.asked: list[int] = []
        self._news = asyncio.Condition()
        self.cannot_encode: Callable[[Event], bool] = lambda _: False

    async def has_taken(self, count: int) -> None:
        """Wait until so many events have arrived."""
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: len(self.taken) >= count)

    def encode(self, event: Event, now: int) -> bytes:
        if self.cannot_encode(event):
            raise SinkRejected("cannot be said")
        return event.uid.encode() + b"\n"

    def pack(self, encoded: Sequence[bytes]) -> bytes:
        return b"".join(encoded)

    async def send(self, payload: bytes) -> Sent:
        self.sends += 1
        if self.mood is not None:
            raise self.mood
        uids = payload.decode().split()
        for index, uid in enumerate(uids):
            if self.refuses(uid):
                raise SinkRejected("bad event", index=index if self.tells_index else None)
        async with self._news:
            self.taken += uids
            self._news.notify_all()
        if self.settles is not None:
            return Sent(self.settles)
        return Sent(State.SENT, self.sends)

    async def ask(self, tokens: Sequence[int]) -> Mapping[int, State]:
        self.asked += tokens
        return {token: self.answers.pop(token) for token in tokens if token in self.answers}

    async def close(self) -> None:
        self.closes += 1
