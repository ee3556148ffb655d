"""From the ledger to parcels: bounded, in order, and never past what it holds back."""

from pathlib import Path

import pytest

from collector.errors import LedgerUnavailable
from collector.forward.event import Checkpoint, EventKind, Place
from collector.forward.feed import BATCHES_PER_READ, READS_PER_FILL, Feed
from collector.forward.ports import TenantLedger
from collector.forward.settings import BatchLimits, Filter
from collector.forward.store import Letter
from collector.forward.window import Window
from collector.ports import AdmittedBatch
from tests.collector.builders import NOW, TENANT, an_admitted_batch
from tests.collector.forward.builders import a_hec, some_batches
from tests.fakes.clock import FakeClock
from tests.fakes.sink import MemorySink
from tests.fakes.source import MemorySource
from tests.proto.builders import a_finding, an_observation


class Setting:
    """A feed over a ledger in memory."""

    def __init__(self, path: Path, batches: list[AdmittedBatch], **limits: object) -> None:
        self.source = MemorySource(batches)
        self.sink = MemorySink()
        self.clock = FakeClock()
        self.newest: Checkpoint | None = None
        batch = BatchLimits(**({"events_max": 10, "wait_s_max": 0} | limits))  # type: ignore[arg-type]
        ledger = TenantLedger(TENANT, self.source, lambda: self.newest)
        self.feed = Feed(ledger, a_hec(path, batch=batch), self.sink, self.clock)
        self.window = Window()

    def fill(self, parcels_max: int = 4, letters: tuple[Letter, ...] = ()) -> None:
        self.feed.fill(self.window, letters, parcels_max)

    def sizes(self) -> list[int]:
        return [len(parcel.items) for parcel in self.window.unsent(1000)]


def test_it_reads_no_more_than_is_wanted(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(500, findings=5))

    setting.fill(parcels_max=4)

    assert 4 <= len(setting.sizes()) <= 4 + BATCHES_PER_READ
    assert setting.feed.has_more


def test_it_stops_when_the_window_is_full(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(5000, findings=5), window_bytes_max=65_536)

    for _ in range(300):
        setting.fill(parcels_max=1_000_000)

    assert setting.window.size_bytes <= 65_536 + 37 * 5 * BATCHES_PER_READ
    assert not setting.feed.has_more


def test_batches_with_nothing_to_forward_do_not_keep_a_thread_for_long(tmp_path: Path) -> None:
    quiet = [an_admitted_batch(an_observation(), position=at) for at in range(1, 1000)]
    setting = Setting(tmp_path, quiet)

    setting.fill()

    assert setting.source.reads == READS_PER_FILL
    assert setting.feed.has_more
    assert setting.feed.read_to == Place(READS_PER_FILL * BATCHES_PER_READ)


def test_events_wait_for_company_and_hold_back_the_cursor(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(1, findings=3), wait_s_max=1)

    setting.fill()
    waiting = (setting.sizes(), setting.feed.is_empty, setting.feed.oldest_received())
    setting.clock.forward(1)
    setting.fill()

    assert waiting == ([], False, setting.source.batches[0].received)
    assert setting.sizes() == [3]
    assert setting.feed.is_empty


def test_it_goes_on_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(2, findings=5))
    setting.feed.begin(Place(0, 3), 0)

    setting.fill()

    (parcel,) = setting.window.unsent(9)
    assert [(item.position, item.index) for item in parcel.items][:3] == [(1, 3), (1, 4), (2, 0)]


def test_what_was_taken_counts_only_for_the_batch_it_was_taken_from(tmp_path: Path) -> None:
    later = an_admitted_batch(*[a_finding() for _ in range(4)], position=7)
    setting = Setting(tmp_path, [later])
    setting.feed.begin(Place(3, 2), 0)

    setting.fill()

    assert setting.sizes() == [4]


def test_an_event_that_cannot_be_said_never_overtakes_those_before_it(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(1, findings=3), wait_s_max=1)
    setting.sink.cannot_encode = lambda event: event.index == 1

    setting.fill()

    first, second = list(setting.window.unsent(9)), setting.window.dead()
    assert [item.index for parcel in first for item in parcel.items] == [0]
    assert second == 1
    assert setting.window.take_settled() == []


def test_a_checkpoint_is_taken_once_for_its_size(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [])
    setting.feed.begin(Place(0), 4)
    setting.newest = Checkpoint(4, NOW, "old")
    setting.fill()
    setting.newest = Checkpoint(5, NOW, "new")
    setting.fill()
    setting.clock.forward(3600)
    setting.fill()

    (parcel,) = setting.window.unsent(9)
    assert [(item.kind, item.log_size) for item in parcel.items] == [(EventKind.CHECKPOINT, 5)]
    assert parcel.items[0].through is None


def test_a_letter_on_its_way_is_not_taken_twice(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(1))
    setting.feed.begin(Place(1), 0)
    letter = Letter(3, "splunk", "uid", EventKind.FINDING, 1, 0, NOW, "bad", b"")

    setting.fill(letters=(letter,))
    setting.fill(letters=(letter,))
    once = setting.sizes()
    setting.feed.redriven(3)
    setting.fill(letters=(letter,))

    assert once == [1]
    assert setting.sizes() == [1, 1]
    assert all(parcel.items[0].through is None for parcel in setting.window.unsent(9))


def test_a_letter_is_not_another_batch_of_the_ledger(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(1, first=9))
    setting.feed.begin(Place(9), 0)
    gone = Letter(3, "splunk", "uid", EventKind.FINDING, 5, 0, NOW, "bad", b"old")
    no_record = Letter(4, "splunk", "uid", EventKind.CHECKPOINT, 0, 0, NOW, "bad", b"old")

    setting.fill(letters=(gone, no_record))

    taken = setting.window.take_settled()
    assert [parcel.reason for parcel in taken] == ["the ledger no longer holds it"] * 2
    assert [parcel.items[0].encoded for parcel in taken] == [b"old", b"old"]


def test_a_failing_ledger_is_said_and_nothing_is_skipped(tmp_path: Path) -> None:
    setting = Setting(tmp_path, some_batches(3))
    setting.source.is_down = True

    with pytest.raises(LedgerUnavailable):
        setting.fill()
    setting.source.is_down = False
    setting.fill()

    assert setting.sizes() == [3]


def test_the_filter_is_the_destinations(tmp_path: Path) -> None:
    ledger = TenantLedger(TENANT, MemorySource(some_batches(3)), lambda: None)
    destination = a_hec(tmp_path, filter=Filter(severity_min="critical"))
    feed, window = Feed(ledger, destination, MemorySink(), FakeClock()), Window()

    feed.fill(window, (), 4)

    assert not window
    assert feed.read_to == Place(3)
