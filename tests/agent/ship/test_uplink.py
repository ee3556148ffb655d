import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from agent.doorframes import Damaged, FromShip, HintFrame, ReceiptFrame, Uplink
from agent.errors import Unreachable
from agent.settings import UplinkSettings
from agent.ship.uplink import Session, UplinkCounts, channel_options
from proto import codec
from proto.model import EpochReason, EpochStart, HintKind, Priority
from proto.vedette.v1.envelope_pb2 import Envelope, Hint, Refused, Reply, Resume
from proto.vedette.v1.envelope_pb2 import HintKind as HintKindPb
from proto.vedette.v1.envelope_pb2 import RefusedReason as RefusedReasonPb
from tests.agent.ship.test_reader import Both
from tests.fakes.collector import FakeCollector

# The last is of a newer version than ours.
NUMBERS: tuple[Any, ...] = (1, 2, 99)
QUICK = UplinkSettings(connect_timeout_s=2, receipt_timeout_s=1, window_batches_max=4)


class Frames:
    def __init__(self) -> None:
        self.sent: list[FromShip] = []

    async def send(self, frame: FromShip) -> None:
        self.sent.append(frame)

    def of(self, kind: type) -> list[FromShip]:
        return [frame for frame in self.sent if isinstance(frame, kind)]


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        # Nothing signals what several tasks together bring about.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def with_session(
    collector: FakeCollector, both: Both, until: Callable[[], bool]
) -> tuple[Frames, UplinkCounts, Session, Unreachable | None]:
    both.show()
    door, counts = Frames(), UplinkCounts()
    error: Unreachable | None = None
    async with grpc.aio.insecure_channel(collector.address) as channel:
        session = Session(channel, both.reader, door, QUICK, counts)
        running = asyncio.ensure_future(session.run())
        try:
            await eventually(lambda: until() or running.done())
            if running.done() and isinstance(failed := running.exception(), Unreachable):
                error = failed
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    both.reader.close()
    return door, counts, session, error


async def test_every_batch_is_sent_once_and_its_receipt_passed_on(tmp_path: Path) -> None:
    both = Both(tmp_path)
    batches = both.commit(*[Priority.LOW] * 10)
    async with FakeCollector() as collector:
        door, counts, _, _ = await with_session(
            collector, both, lambda: counts_of(collector) == 10 and len(collector.taken) == 10
        )

    assert [sent.header for sent in collector.taken] == [b.header for b in batches]
    assert door.sent[0] == Uplink(is_online=True)
    assert door.sent[-1] == Uplink(is_online=False)
    assert counts.batches_sent == 10


def counts_of(collector: FakeCollector) -> int:
    return len(collector.taken)


async def test_no_more_than_a_window_goes_unreceipted(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(*[Priority.LOW] * 10)
    async with FakeCollector() as collector:
        collector.greeting = [Reply(hint=Hint(kind=HintKindPb.HINT_KIND_CONTENT_CHANGED))]
        collector.answer = lambda _collector, _sent: []
        _, counts, _, error = await with_session(collector, both, lambda: False)

    assert len(collector.taken) == QUICK.window_batches_max
    assert counts.receipts == 0
    assert error is not None


async def test_a_resume_starts_where_the_collector_stands(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(*[Priority.LOW] * 5)
    async with FakeCollector() as collector:
        collector.greeting = [Reply(resume=Resume(epoch=both.sealer.epoch, seq=4))]
        await with_session(collector, both, lambda: seqs(collector)[-2:] == [4, 5])

    assert seqs(collector)[-2:] == [4, 5]


def seqs(collector: FakeCollector) -> list[int]:
    return [codec.decode_header(sent.header).seq for sent in collector.taken]


async def test_a_refusal_that_may_be_retried_ends_the_turn(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(Priority.LOW)
    async with FakeCollector() as collector:
        collector.answer = lambda _c, _s: [
            Reply(refused=Refused(reason=RefusedReasonPb.REFUSED_REASON_STORAGE, retry=True))
        ]
        _, counts, _, error = await with_session(collector, both, lambda: False)

    assert error is not None
    assert counts.refused == 1


async def test_a_final_refusal_does_not_block_the_batches_behind(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(*[Priority.LOW] * 9)
    async with FakeCollector() as collector:
        collector.answer = lambda c, s: (
            [Reply(refused=Refused(reason=RefusedReasonPb.REFUSED_REASON_DIGEST))]
            if len(c.taken) % 2
            else [c.receipt(s)]
        )
        _, counts, _, _ = await with_session(collector, both, lambda: len(collector.taken) == 9)

    assert len(collector.taken) == 9
    assert counts.refused >= 4


async def test_hints_reach_whom_they_concern(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(Priority.LOW)
    async with FakeCollector() as collector:
        collector.greeting = [Reply(hint=Hint(kind=kind)) for kind in NUMBERS]
        door, *_ = await with_session(collector, both, lambda: len(collector.taken) == 1)

    assert door.of(HintFrame) == [HintFrame(HintKind.CONTENT_CHANGED)]


@pytest.mark.parametrize("payload", [b"", b"\xff\xff"])
async def test_a_receipt_that_is_none_ends_the_turn(tmp_path: Path, payload: bytes) -> None:
    both = Both(tmp_path)
    both.commit(Priority.LOW)

    def broken(collector: FakeCollector, sent: object) -> list[Reply]:
        reply = collector.receipt(collector.taken[-1])
        reply.receipt.payload = payload
        return [reply]

    async with FakeCollector() as collector:
        collector.answer = broken
        door, _, _, error = await with_session(collector, both, lambda: False)

    assert error is not None
    assert door.of(ReceiptFrame) == []


async def test_nobody_at_the_address_is_said_in_time(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(Priority.LOW)
    collector = FakeCollector()
    collector.address = "127.0.0.1:1"

    *_, error = await with_session(collector, both, lambda: False)

    assert error is not None
    assert error.retryable


def test_keepalive_stays_within_what_a_collector_allows() -> None:
    assert ("grpc.keepalive_time_ms", 60_000) in channel_options(UplinkSettings())


async def test_a_reply_that_is_none_ends_the_turn(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.commit(Priority.LOW)
    async with FakeCollector() as collector:
        collector.answer = lambda _c, _s: [b"\xff\xff\xff"]
        *_, error = await with_session(collector, both, lambda: False)

    assert error is not None


async def test_with_nobody_left_who_sends_the_turn_ends(tmp_path: Path) -> None:
    """Else a stream would stay open for ever over which nothing goes."""
    both = Both(tmp_path)
    both.commit(Priority.LOW)
    file = next((tmp_path / "segments").iterdir())
    raw = bytearray(file.read_bytes())
    raw[40] ^= 1
    file.write_bytes(raw)

    class Deaf(Frames):
        async def send(self, frame: FromShip) -> None:
            if isinstance(frame, Damaged):
                raise Unreachable("sense does not read")

    both.show()
    async with FakeCollector() as collector, asyncio.timeout(5):
        collector.greeting = [Reply(hint=Hint(kind=HintKindPb.HINT_KIND_CONTENT_CHANGED))]
        async with grpc.aio.insecure_channel(collector.address) as channel:
            session = Session(channel, both.reader, Deaf(), QUICK, UplinkCounts())
            with pytest.raises(Unreachable, match="sense does not read"):
                await session.run()
    both.reader.close()


async def test_what_lies_behind_much_damage_is_sent_without_waiting_for_news(
    tmp_path: Path,
) -> None:
    both = Both(tmp_path)
    batches = both.commit(*[Priority.LOW] * 80)
    file = next((tmp_path / "segments").iterdir())
    raw = bytearray(file.read_bytes())
    at = 0
    for _ in range(79):
        length = int.from_bytes(raw[at + 4 : at + 8], "big")
        raw[at + 5] ^= 1
        at += length + 24
    file.write_bytes(raw)
    async with FakeCollector() as collector:
        await with_session(collector, both, lambda: len(collector.taken) == 1)

    assert [sent.header for sent in collector.taken] == [batches[-1].header]


async def test_what_was_receipted_does_not_travel_again_with_every_connection(
    tmp_path: Path,
) -> None:
    """Bodies stay in the outbox for a while, those of an epoch that is over among them."""
    both = Both(tmp_path)
    old = both.commit(*[Priority.LOW] * 40)
    both.sealer = both.host.sealer(EpochStart(reason=EpochReason.CLEAN_START))
    new = both.commit(*[Priority.LOW] * 3)
    async with FakeCollector() as collector:
        collector.greeting = [
            collector.receipt(Envelope(header=old[-1].header)),
            collector.receipt(Envelope(header=new[0].header)),
            Reply(resume=Resume(epoch=new[0].epoch, seq=2)),
        ]
        await with_session(
            collector, both, lambda: [s.header for s in collector.taken[-1:]] == [new[-1].header]
        )

    # What was not receipted, and a little that went before the collector had spoken.
    assert len(collector.taken) <= 3 * QUICK.window_batches_max
