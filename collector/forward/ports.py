"""What forwarding asks of the rooms around it, and what it asks of a sink."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from certs.identity import TenantId
from collector.forward.event import Checkpoint, Event
from collector.forward.states import State
from collector.ports import AdmittedBatch


class Source(Protocol):
    """One tenant's ledger below the verified mark.

    Called from worker threads, for several destinations at once.
    """

    def read(self, after_position: int, batches_max: int) -> Sequence[AdmittedBatch]:
        """Return the next batches in ledger order; none when there are none yet.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        ...

    def mark(self) -> int:
        """Return the position of the newest batch that may be read; 0 before the first.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        ...


class TenantLedger(Struct, frozen=True):
    """What one tenant has to forward.

    Args:
        tenant: whose.
        source: the ledger below the verified mark.
        checkpoint: returns the newest signed head of the tenant's log, None before the first; may
            raise LedgerError. Called from worker threads.
    """

    tenant: TenantId
    source: Source
    checkpoint: Callable[[], Checkpoint | None]


class Sent(Struct, frozen=True):
    """What is known after a payload was sent.

    Args:
        state: how far it came: sent, accepted or confirmed.
        token: names the payload when its fate is asked for later; None when nothing more will be
            known, and then ``state`` is settled.
    """

    state: State
    token: int | None = None


class Sink(Protocol):
    """One destination's protocol. It never retries, sleeps, counts or logs: `delivery` does.

    ``in_flight_max`` payloads may be sent at once; what became of those with a token is asked for
    every ``ask_wait_s`` seconds.
    """

    in_flight_max: int
    ask_wait_s: float

    @property
    def degraded(self) -> str:
        """Why events reach less than the destination's best state; empty while they do not."""
        ...

    def encode(self, event: Event, now: int) -> bytes:
        """Return one event in the destination's format. Pure.

        Raises:
            SinkRejected: it cannot be said in this format.
        """
        ...

    def pack(self, encoded: Sequence[bytes]) -> bytes:
        """Return encoded events as one payload. Pure; called from a worker thread."""
        ...

    async def send(self, payload: bytes) -> Sent:
        """Give one payload to the receiver.

        Raises:
            SinkUnavailable: it may be tried again later.
            SinkMisconfigured: nothing will get through until somebody acts.
            SinkRejected: an event in it will never be taken.
        """
        ...

    async def ask(self, tokens: Sequence[int]) -> Mapping[int, State]:
        """Return what became of payloads.

        Returns:
            A settled state; or ``queued`` for one whose fate will never be known, which has to be
            sent again. A token without an entry is still open.

        Raises:
            SinkUnavailable: the receiver does not say; ask again later.
            SinkMisconfigured: it will not say until somebody acts.
        """
        ...

    async def close(self) -> None:
        """End the connection in order. May be called twice; the sink may be used again after."""
        ...
