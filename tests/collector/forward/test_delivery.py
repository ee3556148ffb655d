"""One loop for every sink: nothing lost, nothing upgraded, nobody waited for in vain."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from collector.errors import LedgerUnavailable
from collector.forward import dlq
from collector.forward.delivery import Delivery
from collector.forward.errors import SinkMisconfigured, SinkRejected, SinkUnavailable
from collector.forward.event import Checkpoint, Place
from collector.forward.ports import Sent
from collector.forward.settings import BatchLimits, Filter, HecDestination, Patience
from collector.forward.sinks.splunk_hec import HecSink
from collector.forward.states import Phase, State
from collector.forward.store import ForwardStore
from tests.collector.builders import an_admitted_batch
from tests.collector.forward.builders import Bench, a_hec, some_batches
from tests.fakes.clock import FakeClock
from tests.fakes.hec import HecReceiver
from tests.fakes.sink import MemorySink
from tests.proto.builders import a_finding, an_observation


class FullDisk(ForwardStore):
    """Reads, but never commits."""

    def commit(self, *_: object) -> None:
        raise LedgerUnavailable("the disk is full")


def small(path: Path, events_max: int = 10, **changes: object) -> HecDestination:
    batch = BatchLimits(events_max=events_max, wait_s_max=0)
    return a_hec(path, **({"batch": batch} | changes))


async def test_every_event_arrives_once_and_the_cursor_stands_behind_the_last(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path), batches=some_batches(20, findings=7))

    await bench.until_idle()

    assert bench.sink.taken == bench.uids()
    assert bench.status().cursor == Place(20)
    assert bench.status().counts[State.ACCEPTED] == 140
    assert bench.status().resent == 0


async def test_batches_without_events_move_the_cursor_too(tmp_path: Path) -> None:
    quiet = [an_admitted_batch(an_observation(), position=at) for at in range(1, 300)]
    bench = Bench(tmp_path, MemorySink(), batches=quiet)

    await bench.until_idle()

    assert bench.sink.taken == []
    assert bench.status().cursor == Place(299)


async def test_nothing_is_lost_over_a_day_without_receiver(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.mood = SinkUnavailable("down")
    slow = small(tmp_path, patience=Patience(retry_wait_s_max=600))
    bench = Bench(tmp_path, sink, slow, batches=some_batches(30))
    day_ns = 24 * 3600 * 10**9
    start = bench.clock.wall

    while bench.clock.wall < start + day_ns:
        await bench.turns(1)
    assert bench.status().phase is Phase.WAITING
    assert bench.status().oldest == bench.source.batches[0].received
    sends = sink.sends
    sink.mood = None
    await bench.until_idle()

    assert sink.taken == bench.uids()
    assert bench.letters() == []
    # Full jitter under ten minutes: five minutes on average.
    assert 24 * 6 < sends < 24 * 6 * 4
    assert bench.status().phase is Phase.RUNNING


async def test_the_receiver_is_not_asked_before_it_said(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.mood = SinkUnavailable("busy", retry_after_s=600)
    bench = Bench(tmp_path, sink, batches=some_batches(1))

    rest_s = await bench.delivery.turn()
    sink.mood = None
    bench.clock.forward(599)
    await bench.delivery.turn()
    sends_before = sink.sends
    bench.clock.forward(2)
    await bench.until_idle()

    assert rest_s == pytest.approx(600)
    assert sends_before == 1
    assert sink.taken == bench.uids()


async def test_a_crash_between_send_and_commit_sends_the_same_ids_again(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, MemorySink(), small(tmp_path, 3), batches=some_batches(10), store=FullDisk
    )

    await bench.delivery.turn()
    sent = list(bench.sink.taken)
    bench.restart()
    await bench.until_idle()

    assert sent
    assert set(bench.sink.taken) == set(bench.uids())
    assert {uid for uid, count in Counter(bench.sink.taken).items() if count > 1} == set(sent)


async def test_a_restart_in_the_middle_of_a_batch_goes_on_in_the_middle(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, MemorySink(), small(tmp_path, 10), batches=some_batches(1, findings=100)
    )

    await bench.delivery.turn()
    cursor = bench.status().cursor
    bench.restart()
    await bench.until_idle()

    assert cursor == Place(0, 20)
    assert bench.sink.taken == bench.uids()


async def test_a_misconfigured_destination_is_parked_and_tried_slowly(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.mood = SinkMisconfigured("token disabled")
    bench = Bench(tmp_path, sink, small(tmp_path), batches=some_batches(5))

    await bench.turns(1)
    parked = bench.status()
    for _ in range(59):
        bench.clock.forward(1)
        await bench.delivery.turn()
    sends = sink.sends
    sink.mood = None
    await bench.until_idle()

    assert parked.phase is Phase.PARKED
    assert "token disabled" in parked.detail
    assert sends <= 3
    assert sink.closes >= 1
    assert sink.taken == bench.uids()
    assert bench.status().phase is Phase.RUNNING


@pytest.mark.parametrize("tells_index", [True, False])
async def test_one_bad_event_in_five_hundred_is_set_aside_alone(
    tmp_path: Path, tells_index: bool
) -> None:
    bench = Bench(
        tmp_path, MemorySink(), small(tmp_path, 500), batches=some_batches(5, findings=100)
    )
    bad = bench.uids()[321]
    bench.sink.refuses = lambda uid: uid == bad
    bench.sink.tells_index = tells_index

    await bench.until_idle()

    (letter,) = bench.letters()
    assert (letter.uid, letter.reason) == (bad, "bad event")
    assert sorted(bench.sink.taken) == sorted(set(bench.uids()) - {bad})
    assert bench.status().counts == {
        State.ACCEPTED: 499,
        State.CONFIRMED: 0,
        State.UNCONFIRMABLE: 0,
        State.DEAD: 1,
    }
    assert bench.sink.sends <= (4 if tells_index else 20)


async def test_an_event_is_never_set_aside_on_the_word_of_an_index_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path, 50), batches=some_batches(1, findings=50))
    bad = bench.uids()[30]
    honest = bench.sink.send

    async def one_too_high(payload: bytes) -> Sent:
        try:
            return await honest(payload)
        except SinkRejected as error:
            index = None if error.index is None else error.index + 1
            raise SinkRejected(error.message, index=index) from error

    bench.sink.refuses = lambda uid: uid == bad
    bench.sink.tells_index = True
    bench.sink.send = one_too_high  # type: ignore[method-assign]
    await bench.until_idle()

    assert [letter.uid for letter in bench.letters()] == [bad]
    assert set(bench.sink.taken) == set(bench.uids()) - {bad}


async def test_too_many_bad_events_park_instead_of_filling_the_disk(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        MemorySink(),
        small(tmp_path, 1, letters_max=3),
        batches=some_batches(1, findings=9),
    )
    bench.sink.refuses = lambda _: True

    await bench.turns(30)

    assert len(bench.letters()) == 3
    assert bench.status().phase is Phase.PARKED
    assert "set aside" in bench.status().detail
    assert bench.status().cursor == Place(0, 3)


async def test_an_event_that_cannot_be_said_is_set_aside_and_holds_up_nothing(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path), batches=some_batches(1, findings=9))
    bad = bench.uids()[4]
    bench.sink.cannot_encode = lambda event: event.uid == bad

    await bench.until_idle()

    assert [(letter.uid, letter.reason) for letter in bench.letters()] == [(bad, "cannot be said")]
    assert bench.sink.taken == [uid for uid in bench.uids() if uid != bad]


async def test_the_cursor_waits_for_what_became_of_a_payload(tmp_path: Path) -> None:
    sink = MemorySink(settles=None)
    bench = Bench(tmp_path, sink, small(tmp_path, 1), batches=some_batches(2))

    await bench.turns(3)
    before = bench.status().cursor
    sink.answers = {2: State.CONFIRMED}
    await bench.turns(3)
    second_alone = bench.status().cursor
    sink.answers = {1: State.CONFIRMED}
    await bench.turns(3)

    assert (before, second_alone) == (Place(0), Place(0))
    assert bench.status().cursor == Place(2)
    assert bench.status().counts[State.CONFIRMED] == 2
    assert bench.status().oldest is None


async def test_what_is_never_answered_is_sent_again_and_counted(tmp_path: Path) -> None:
    sink = MemorySink(settles=None)
    bench = Bench(tmp_path, sink, small(tmp_path, 1), batches=some_batches(1))

    await bench.turns(2)
    sink.answers = {1: State.QUEUED}
    await bench.turns(2)
    sink.answers = {2: State.CONFIRMED}
    await bench.turns(2)

    assert sink.taken == bench.uids() * 2
    assert bench.status().resent == 1
    assert bench.status().counts[State.CONFIRMED] == 1


async def test_a_receiver_that_says_nothing_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        receiver.script.append("hang")
        patience = Patience(send_timeout_s=0.5)
        destination = small(tmp_path, url=receiver.url, patience=patience)
        sink = HecSink(destination, FakeClock())
        bench = Bench(tmp_path, sink, destination, batches=some_batches(1))

        await bench.turns(1)
        waiting = bench.status()
        bench.clock.forward(60)
        await bench.until_idle()
        await sink.close()

    assert waiting.phase is Phase.WAITING
    assert "no answer within 0.5 s" in waiting.detail
    assert receiver.ids == bench.uids()


async def test_forwarding_runs_until_cancelled_and_is_woken_by_news(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), batches=some_batches(1))
    delivery: Delivery = bench.delivery

    loop = asyncio.get_running_loop()

    task = loop.create_task(delivery.run())
    await bench.sink.has_taken(1)
    bench.source.batches += some_batches(1, first=2)
    started = loop.time()
    delivery.wake()
    await bench.sink.has_taken(2)
    elapsed_s = loop.time() - started
    task.cancel()
    await asyncio.wait([task])

    assert elapsed_s < 0.9
    assert bench.sink.closes == 1


async def test_our_own_failing_disk_stalls_and_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), batches=some_batches(3))
    await bench.turns(2)
    bench.source.batches += some_batches(3, first=4)

    bench.source.is_down = True
    await bench.turns(2)
    stalled = bench.status()
    bench.source.is_down = False
    await bench.until_idle()

    assert stalled.phase is Phase.STALLED
    assert bench.sink.taken == bench.uids()


async def test_a_refused_event_shows_that_the_receiver_works_again(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.mood = SinkUnavailable("down")
    bench = Bench(tmp_path, sink, small(tmp_path, 1), batches=some_batches(1))
    await bench.turns(1)

    sink.mood = SinkRejected("bad event")
    await bench.until_idle()

    assert bench.status().phase is Phase.RUNNING
    assert len(bench.letters()) == 1


async def test_a_payload_that_was_only_written_does_not(tmp_path: Path) -> None:
    sink = MemorySink(settles=None)
    sink.mood = SinkUnavailable("down")
    bench = Bench(tmp_path, sink, small(tmp_path, 1), batches=some_batches(2))
    await bench.turns(1)

    sink.mood = None
    await bench.turns(2)
    written = bench.status().phase
    sink.answers = {sink.sends: State.UNCONFIRMABLE}
    await bench.turns(3)

    assert written is Phase.WAITING
    assert bench.status().phase is Phase.RUNNING


async def test_a_ledger_that_fails_beside_a_send_does_not_lose_the_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path, 2), batches=some_batches(50))
    await bench.delivery.turn()

    bench.source.is_down = True
    await bench.turns(4)
    bench.source.is_down = False
    await bench.until_idle()

    assert bench.sink.taken == bench.uids()


async def test_a_new_destination_may_begin_at_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path, start="end"), batches=some_batches(5))
    await bench.turns(2)

    bench.source.batches += some_batches(1, first=6)
    await bench.until_idle()

    assert bench.sink.taken == bench.uids()[5:]


async def test_a_ledger_restored_from_a_backup_is_forwarded_on_from_its_end(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, MemorySink(), batches=some_batches(5))
    await bench.until_idle()

    del bench.source.batches[2:]
    bench.restart()
    await bench.turns(2)
    bench.source.batches += some_batches(3, first=3)
    bench.sink.taken.clear()
    await bench.turns(3)

    assert bench.sink.taken == bench.uids()[2:]


async def test_a_checkpoint_goes_along_when_the_log_has_grown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), batches=some_batches(1))
    bench.newest = Checkpoint(1, bench.clock.wall, "note 1")

    await bench.turns(3)
    first = len(bench.sink.taken)
    bench.newest = Checkpoint(2, bench.clock.wall, "note 2")
    await bench.turns(3)
    too_soon = len(bench.sink.taken)
    bench.clock.forward(60)
    await bench.turns(3)

    assert (first, too_soon, len(bench.sink.taken)) == (2, 2, 3)
    assert bench.status().log_size == 2


async def test_a_filter_keeps_checkpoints_away(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        MemorySink(),
        small(tmp_path, filter=Filter(kinds=("finding",))),
        batches=some_batches(1),
    )
    bench.newest = Checkpoint(1, bench.clock.wall, "note 1")

    await bench.turns(3)

    assert bench.sink.taken == bench.uids()


async def test_a_letter_sent_again_is_taken_or_stays_with_its_new_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path), batches=some_batches(1, findings=3))
    uids = bench.uids()
    bench.sink.refuses = lambda uid: uid in uids[1:]
    await bench.until_idle()

    again = dlq.redrive(bench.path, "splunk")
    bench.sink.refuses = lambda uid: uid == uids[2]
    await bench.turns(6)

    assert again == 2
    assert bench.sink.taken == [uids[0], uids[1]]
    (letter,) = bench.letters()
    assert (letter.uid, letter.attempts, letter.redrive) == (uids[2], 2, False)
    assert bench.status().cursor == Place(1)


async def test_a_letter_that_the_ledger_no_longer_holds_stays_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemorySink(), small(tmp_path), batches=some_batches(1))
    bench.sink.refuses = lambda _: True
    await bench.until_idle()

    bench.source.batches.clear()
    dlq.redrive(bench.path, "splunk")
    await bench.turns(3)

    (letter,) = bench.letters()
    assert letter.reason == "the ledger no longer holds it"
    assert letter.encoded


async def test_events_wait_for_company_only_as_long_as_allowed(tmp_path: Path) -> None:
    destination = a_hec(tmp_path, batch=BatchLimits(wait_s_max=0.5))
    bench = Bench(tmp_path, MemorySink(), destination, batches=[an_admitted_batch(a_finding())])

    rest_s = await bench.delivery.turn()
    sends = bench.sink.sends
    bench.clock.forward(rest_s)
    await bench.turns(2)

    assert rest_s == pytest.approx(0.5)
    assert sends == 0
    assert bench.sink.taken == bench.uids()
