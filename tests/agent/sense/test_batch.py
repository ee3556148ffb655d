from agent.sense.batch import OpenBatch, OpenBatches, SealingSettings
from proto.model import RAW_BYTES_MAX, RECORDS_MAX, Priority
from runtime.clock import NS_PER_MS, NS_PER_S


def test_the_most_urgent_record_decides_when_everything_is_sealed() -> None:
    batches = OpenBatches(SealingSettings())
    assert batches.due() is None
    batches.add(Priority.LOW, b"a", 5, 0)
    assert batches.due() == 30 * NS_PER_S

    batches.add(Priority.HIGH, b"b", 4, NS_PER_S)

    assert batches.due() == NS_PER_S + 200 * NS_PER_MS
    assert [batch.priority for batch in batches.take()] == [Priority.HIGH, Priority.LOW]
    assert batches.due() is None


def test_low_priority_waits_longer_while_nobody_listens() -> None:
    batches = OpenBatches(SealingSettings())
    batches.is_online = False
    batches.add(Priority.LOW, b"a", 1, 0)

    assert batches.due() == 60 * NS_PER_S


def test_a_batch_that_is_full_is_due_at_once_and_nothing_is_left_behind() -> None:
    batches = OpenBatches(SealingSettings())
    for number in range(RECORDS_MAX + 1):
        batches.add(Priority.LOW, str(number).encode(), number, 0)

    assert batches.due() == 0
    assert [len(batch.records) for batch in batches.take()] == [RECORDS_MAX, 1]


def test_a_batch_never_outgrows_a_body() -> None:
    batch = OpenBatch(Priority.LOW)
    record = bytes(200_000)
    while batch.fits(record):
        batch.add(record, 1, 1)

    assert batch.raw_bytes <= RAW_BYTES_MAX
    assert len(batch.records) == 5


def test_the_times_of_a_batch_bound_its_events() -> None:
    batch = OpenBatch(Priority.LOW)
    for time in (5, 3, 9):
        batch.add(b"x", time, 1)

    assert (batch.first_time, batch.last_time) == (3, 9)
    assert OpenBatches(SealingSettings()).heartbeat_due(7) == 7 + 300 * NS_PER_S
