"""The loop of `sense` with fakes around a real outbox, driven by a clock that a test moves."""

import os
import selectors
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from msgspec import Struct

from agent.doorframes import FromShip
from agent.segments import ReadAt, read_frame, read_payload
from agent.sense.app import ContentDesk, Judge, Parts, Sense
from agent.sense.batch import SealingSettings
from agent.sense.budget import Budget, BudgetSettings
from agent.sense.door import Door
from agent.sense.floods import Floods, FloodSettings
from agent.sense.outbox import OutboxSettings
from agent.sense.ports import Sensor
from agent.sense.receipts import ReceiptBook
from agent.sense.recorder import Recorder, RecorderSettings
from agent.sense.redact import RedactionSettings, Redactor
from agent.sense.statements import StatementDesk
from certs.signatures import SigningKey
from proto import codec, model
from proto.note import NoteKey
from runtime.clock import NS_PER_S
from tests.agent.sense.builders import SMALL, TENANT, Host, an_outbox
from tests.fakes.clock import FakeClock
from tests.fakes.meter import FakeMeter

R = TypeVar("R", bound=model.Record)
NONE: Mapping[str, Sensor] = MappingProxyType({})
# Numbered findings of one rule are no flood to most tests.
LET_PASS = FloodSettings(burst=0)
NO_CEILING = BudgetSettings(cpu_percent_max=0, memory_mib_max=0)
LOG_NAME = "log.example/demo"


class FastSelector(selectors.PollSelector):
    """Waits by moving the clock, up to a limit; real descriptors are looked at in between."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.waits: list[float] = []
        self.until = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or not timeout:
            self.waits.append(0)
            return ready
        left = max(0, self.until - self.clock.boot_ns()) / NS_PER_S
        step = min(timeout, left)
        self.waits.append(step)
        self.clock.forward(step)
        return super().select(0)


class SealedBatch(Struct, frozen=True):
    """A batch as a reader finds it on disk."""

    header: model.Header
    records: tuple[model.Record, ...]


class Loop:
    """A `Sense` over one directory; `start` it again after `crash` or `stop`."""

    def __init__(
        self,
        path: Path,
        *,
        sensors: Mapping[str, Sensor] = NONE,
        judges: Sequence[Judge] = (),
        host: Host | None = None,
        settings: OutboxSettings = SMALL,
        sealing: SealingSettings | None = None,
        content: ContentDesk | None = None,
        is_open: bool = False,
        floods: FloodSettings = LET_PASS,
        budget: Budget | None = None,
    ) -> None:
        self.path = path
        self.host = host or Host()
        self.clock = self.host.clock
        self.collector = SigningKey.generate()
        self.log_key = SigningKey.generate()
        self.selector = FastSelector(self.clock)
        self.outbox = an_outbox(path, settings)
        self.door: Door | None = None
        if is_open:
            self.door = Door(path / "door.sock", os.getuid(), self.clock, self._take)
        receipts = ReceiptBook(
            TENANT,
            self.host.agent,
            {self.collector.public.key_id: self.collector.public},
            [NoteKey(LOG_NAME, self.log_key.public)],
        )
        key = self.host.key
        self.sense = Sense(
            Parts(
                facts=self.host.facts,
                key=key,
                verify_key=key.public,
                clock=self.clock,
                random=os.urandom,
                outbox=self.outbox,
                door=self.door,
                sensors=sensors,
                judges=judges,
                content=content,
                redactor=Redactor(b"key", RedactionSettings()),
                recorder=Recorder(RecorderSettings()),
                receipts=receipts,
                statements=StatementDesk(key, key.public.raw, self.host.facts, self.clock),
                sealing=sealing or SealingSettings(),
                floods=Floods(floods),
                budget=budget or Budget(NO_CEILING, FakeMeter(self.clock)),
                selector=lambda: self.selector,
            )
        )

    def _take(self, frame: FromShip) -> None:
        self.sense.take_frame(frame)

    def has_visitor(self) -> bool:
        return self.door is not None and self.door.has_visitor

    def start(self) -> "Loop":
        self.sense.start()
        return self

    def go(self, seconds: float) -> None:
        """Run the loop for so long."""
        self.selector.until = self.clock.boot_ns() + int(seconds * NS_PER_S)
        while self.clock.boot_ns() < self.selector.until:
            self.sense.step()

    def step(self, count: int = 1) -> None:
        """Take turns without any time passing."""
        self.selector.until = 0
        for _ in range(count):
            self.sense.step()

    def crash(self) -> None:
        """Let go of what the kernel would, and of nothing else."""
        if self.door is not None:
            self.door.close()
        self.outbox.close()
        self.selector.close()

    def stop(self) -> None:
        self.sense.stop()
        self.selector.close()

    def sealed(self) -> list[SealedBatch]:
        """What a reader finds in the outbox, in the order of the chain of each epoch."""
        found: list[SealedBatch] = []
        for visible in self.outbox.visible():
            data = (self.path / "segments" / str(visible.segment)).read_bytes()
            at = 0
            while at < visible.durable:
                entry = read_frame(visible.segment, at, _in(data))
                assert entry is not None
                found.append(_opened(read_payload(entry, _in(data))))
                at = entry.end
        epochs = {batch.header.epoch: n for n, batch in enumerate(found)}
        return sorted(found, key=lambda batch: (epochs[batch.header.epoch], batch.header.seq))

    def records(self, kind: type[R]) -> list[R]:
        return [r for batch in self.sealed() for r in batch.records if isinstance(r, kind)]


def _in(data: bytes) -> ReadAt:
    return lambda offset, size: data[offset : offset + size]


def _opened(payload: bytes) -> SealedBatch:
    header, _, body = codec.decode_envelope(payload)
    records = codec.decode_body(zlib.decompress(body)).records
    decoded = (codec.decode_record(record)[0] for record in records)
    return SealedBatch(
        codec.decode_header(header), tuple(record for record in decoded if record is not None)
    )
