"""An inventory is stated once, then only what changed, and again when it is time or asked for."""

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.sense.ports import POLL_SIGHTINGS_MAX, Ease, Easing, Restating, SensorSpec, Sighting
from agent.sense.sensors.inventory import FullSettings, InventorySensor, state_of
from agent.sense.sensors.listings import Listed, Look, Thing, Unread
from agent.sense.sensors.replacewatch import ReplaceWatch
from agent.sense.sensors.told import Told
from proto.model import (
    Change,
    Container,
    Drop,
    HealthState,
    InventoryItem,
    Observation,
    Package,
    Setting,
)
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.driving import drain
from tests.fakes.clock import FakeClock

DAY_S = 86_400


class FakeListing:
    """A listing that names what a test says."""

    coverage = "all of it"
    interval_s = 600
    watch: ReplaceWatch | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.things: dict[bytes, Thing] = {}
        self.stamp = b""
        self.problem = ""
        self.odd = 0
        self.refusal: Unread | None = None
        self.reads = 0

    def look(self) -> Look:
        if self.refusal is not None:
            raise self.refusal
        return Look(self.stamp, 5)

    def read(self) -> Generator[None, None, Listed]:
        self.reads += 1
        yield
        return Listed(dict(self.things), self.odd, self.problem)

    def is_same(self, before: Thing, now: Thing) -> bool:
        return isinstance(before, Container) and isinstance(now, Container)

    def fresh(self, thing: Thing) -> Thing:
        return self.things.get(b"c", thing) if isinstance(thing, Container) else thing

    def name_all(self, *values: str) -> None:
        """Name settings; each is ``name=value``."""
        pairs = [value.partition("=") for value in values]
        self.things = {key.encode(): Setting(key, value) for key, _, value in pairs}


class Sensor(InventorySensor):
    spec = SensorSpec("all", "a list", "all of it", "nothing", "none", "0")
    needed = frozenset({"a", "b"})


class Case:
    """Two listings and a sensor of them, over as many runs as a test needs."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.first, self.second = FakeListing("a"), FakeListing("b")
        self.sensor = self.a_sensor()

    def a_sensor(self) -> Sensor:
        full = FullSettings()
        return Sensor((self.first, self.second), self.clock, self.told(), full)

    def told(self) -> Told:
        return state_of(self.folder / "state.db", 1 << 24)

    def start(self, cursor: bytes = b"") -> list[Sighting]:
        self.sensor.stop()
        self.sensor = self.a_sensor()
        self.sensor.start(cursor)
        return drain(self.sensor, self.clock)

    def later(self, seconds: float = 601) -> list[Sighting]:
        self.clock.forward(seconds)
        return drain(self.sensor, self.clock)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.sensor.stop()


def said(told: list[Sighting]) -> list[tuple[Change, str]]:
    found = []
    for seen in told:
        assert isinstance(seen, InventoryItem)
        value = seen.item.value
        assert isinstance(value, Setting | Container | Package)
        text = f"{value.name}={value.value}" if isinstance(value, Setting) else repr(value)
        found.append((seen.change, text))
    return found


def test_listings_are_stated_one_after_the_other(case: Case) -> None:
    case.second.name_all("x=1")
    case.first.name_all("z=1", "y=2")

    assert said(case.start()) == [
        (Change.PRESENT, "y=2"),
        (Change.PRESENT, "z=1"),
        (Change.PRESENT, "x=1"),
    ]


def test_what_changed_is_told_and_nothing_else(case: Case) -> None:
    case.first.name_all("same=1", "new-value=1", "gone=1")
    case.start()
    case.first.name_all("same=1", "new-value=2", "come=1")

    assert said(case.later()) == [
        (Change.REMOVED, "gone=1"),
        (Change.ADDED, "come=1"),
        (Change.PRESENT, "new-value=2"),
    ]
    assert case.later() == []


def test_a_listing_whose_stamp_stands_is_not_read(case: Case) -> None:
    case.first.stamp = b"1"
    case.first.name_all("a=1")
    case.start()
    case.later()
    assert case.first.reads == 1

    case.first.stamp = b"2"
    case.later()

    assert case.first.reads == 2


def test_what_could_not_be_read_is_not_gone_and_is_read_again(case: Case) -> None:
    case.first.stamp = b"1"
    case.first.name_all("a=1", "b=1")
    case.start()

    case.first.stamp, case.first.problem = b"2", "closed"
    case.first.name_all("a=2")
    told = case.later()
    health = case.sensor.health()
    case.first.problem = ""

    assert said(told) == [(Change.PRESENT, "a=2")]
    assert (health.state, health.reason) == (HealthState.DEGRADED, "closed")
    assert said(case.later()) == [(Change.REMOVED, "b=1")]
    assert case.sensor.health().state is HealthState.OK


def test_one_listing_that_is_absent_is_nothing_amiss_and_all_needed_are(case: Case) -> None:
    case.first.refusal = Unread("no a", is_absent=True)
    case.second.refusal = Unread("no b", is_absent=True)
    case.start()
    neither = case.sensor.health()
    case.second.refusal = None
    case.later()

    assert (neither.state, neither.reason) == (HealthState.BLIND, "no a; no b")
    assert case.sensor.health().state is HealthState.OK


def test_a_listing_that_was_there_and_is_absent_is_amiss_and_nothing_is_gone(case: Case) -> None:
    case.first.name_all("a=1")
    case.start()

    case.first.refusal = Unread("no a", is_absent=True)

    assert case.later() == []
    assert case.sensor.health().state is HealthState.DEGRADED
    assert "no a" in case.sensor.health().reason


def test_odd_entries_are_counted_until_they_are_gone(case: Case) -> None:
    case.first.odd = 2
    case.start()
    odd = case.sensor.health()
    case.first.odd = 0
    case.later()

    assert (odd.state, odd.dropped) == (HealthState.DEGRADED, 2)
    assert case.sensor.health().state is HealthState.OK


def test_a_problem_that_passes_leaves_what_is_odd(case: Case) -> None:
    case.first.stamp, case.first.odd = b"1", 1
    case.start()
    case.first.refusal = Unread("too many open files")
    case.later()
    during = case.sensor.health()
    case.first.refusal = None
    case.later()

    assert "too many open files" in during.reason
    assert case.sensor.health().reason == "1 entries of a make no sense"


def test_a_first_look_that_saw_nothing_for_trouble_is_no_baseline(case: Case) -> None:
    case.first.problem = "closed"
    case.start()
    case.first.problem = ""
    case.first.name_all("a=1")

    assert said(case.later()) == [(Change.PRESENT, "a=1")]


def test_looks_come_at_multiples_of_their_interval(case: Case) -> None:
    case.start()

    due = case.sensor.due()

    assert due is not None
    assert due % (600 * NS_PER_S) == 0


def test_looks_are_fewer_while_sensing_costs_too_much(case: Case) -> None:
    case.start()
    assert isinstance(case.sensor, Easing)

    case.sensor.ease(Ease.SLOWER)
    case.later(601)
    eased = case.first.reads
    for _ in range(12):
        case.later(200)
    slow = case.first.reads - eased
    case.sensor.ease(Ease.NORMAL)
    for _ in range(12):
        case.later(200)

    assert slow == 1
    assert case.first.reads - eased - slow >= 3


def test_a_difference_not_worth_telling_is_not_told(case: Case) -> None:
    case.first.things = {b"c": Container("c", "lxc", processes=1)}
    case.start()
    case.first.things = {b"c": Container("c", "lxc", processes=9)}

    assert case.later() == []


def test_everything_is_stated_again_once_a_day(case: Case) -> None:
    case.first.name_all("a=1")
    case.second.name_all("b=1")
    case.start()

    told = [one for _ in range(3 * 144) for one in case.later(600)]

    assert said(told) == 3 * [(Change.PRESENT, "a=1"), (Change.PRESENT, "b=1")]


def test_a_restart_does_not_state_everything_again(case: Case) -> None:
    case.first.name_all("a=1")
    case.start()

    assert case.start(case.sensor.cursor()) == []


def test_hosts_do_not_state_everything_at_one_time(tmp_path: Path) -> None:
    def wait(number: int) -> int:
        (tmp_path / str(number)).mkdir()
        case = Case(tmp_path / str(number))
        case.first.name_all("a=1")
        case.start()
        turns = next(turn for turn in range(145) if case.later(600))
        case.sensor.stop()
        return turns

    assert len({wait(number) for number in range(8)}) > 2


def test_a_clock_that_jumps_does_not_state_everything_more_than_once_an_hour(case: Case) -> None:
    case.first.name_all("a=1")
    case.start()
    case.clock.forward(3601)

    told = []
    for turn in range(6):
        case.clock.wall += (-1) ** turn * 400 * DAY_S * NS_PER_S
        told += case.later(600)

    assert said(told) == [(Change.PRESENT, "a=1")]


def test_whoever_asks_gets_everything_once_an_hour(case: Case) -> None:
    case.first.name_all("a=1")
    case.start()
    assert isinstance(case.sensor, Restating)

    case.sensor.restate()
    too_soon = drain(case.sensor, case.clock)
    case.clock.forward(3601)
    drain(case.sensor, case.clock)
    case.sensor.restate()
    told = drain(case.sensor, case.clock)
    case.sensor.restate()

    assert too_soon == []
    assert said(told) == [(Change.PRESENT, "a=1")]
    assert drain(case.sensor, case.clock) == []


def test_asking_before_the_start_or_after_the_stop_is_harmless(case: Case) -> None:
    case.sensor.restate()
    case.start()
    case.sensor.stop()
    case.sensor.restate()

    assert case.sensor.due() is None


def test_what_changes_all_the_time_is_stated_as_it_is_now(case: Case) -> None:
    case.first.things = {b"c": Container("c", "lxc", processes=1)}
    case.start()
    case.first.things = {b"c": Container("c", "lxc", processes=9)}
    case.clock.forward(3601)
    drain(case.sensor, case.clock)

    case.sensor.restate()

    (seen,) = drain(case.sensor, case.clock)
    assert isinstance(seen, InventoryItem)
    assert seen.item.value == Container("c", "lxc", processes=9)


def test_a_kill_in_the_middle_of_stating_everything_goes_on_where_it_was(case: Case) -> None:
    case.first.name_all(*(f"s{number:04}=1" for number in range(1500)))
    case.start()
    case.clock.forward(3601)
    drain(case.sensor, case.clock)
    case.sensor.restate()

    first = case.sensor.poll(case.clock.boot_ns() + NS_PER_S)
    rest = case.start(case.sensor.cursor())

    assert 0 < len(first) < POLL_SIGHTINGS_MAX + 1
    assert said([*first, *rest]) == [(Change.PRESENT, f"s{n:04}=1") for n in range(1500)]


def test_what_goes_while_everything_is_stated_is_not_stated_after_it(case: Case) -> None:
    case.first.name_all("a=1", "b=1")
    case.start()
    case.clock.forward(3601)
    drain(case.sensor, case.clock)
    case.first.name_all("a=1")
    case.clock.forward(601)
    case.sensor.restate()

    assert said(drain(case.sensor, case.clock)) == [
        (Change.REMOVED, "b=1"),
        (Change.PRESENT, "a=1"),
    ]


def test_a_listing_larger_than_a_page_of_rows_is_compared_whole(case: Case) -> None:
    names = [f"s{number:04}=1" for number in range(1000)]
    case.first.name_all(*names)
    case.start()
    case.first.name_all(*names[:300], "s0300a=1", *names[301:999], "t=1")

    told = said(case.later())

    assert sorted(told, key=str) == sorted(
        [
            (Change.REMOVED, "s0300=1"),
            (Change.ADDED, "s0300a=1"),
            (Change.REMOVED, "s0999=1"),
            (Change.ADDED, "t=1"),
        ],
        key=str,
    )


def test_a_change_of_version_is_one_gone_and_one_come_with_what_happened(case: Case) -> None:
    case.first.things = {b"p": Package("deb", "p", "1")}
    case.start()
    case.first.things = {b"p": Package("deb", "p", "2")}

    gone, come, happened = case.later()

    assert isinstance(gone, InventoryItem)
    assert isinstance(come, InventoryItem)
    assert (gone.change, come.change) == (Change.REMOVED, Change.ADDED)
    assert isinstance(happened, Observation)
    assert happened.event_time == 5


def test_a_lost_state_is_said_and_everything_stated(case: Case) -> None:
    case.first.name_all("a=1")
    case.start()
    sealed = case.sensor.cursor()
    case.sensor.stop()
    (case.folder / "state.db").write_bytes(b"damage" * 1000)

    drop, *rest = case.start(sealed)

    assert isinstance(drop, Drop)
    assert said(rest) == [(Change.PRESENT, "a=1")]


class Stating(RuleBasedStateMachine):
    """A host that changes, a sensor that is killed, and a ledger of what was sealed.

    Whoever applies the sealed statements in their order knows the host, and none of them is out of
    place: nothing comes twice, and nothing goes that was not there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.case = Case(Path(self.folder.name))
        self.world: dict[str, dict[str, str]] = {"a": {"first": "1"}, "b": {}}
        self.known: dict[str, str] = {}
        self.cursor = b""
        self.open: list[Sighting] = []
        self.show()
        self.open += self.case.start()

    def show(self) -> None:
        for listing in (self.case.first, self.case.second):
            values = self.world[listing.name]
            listing.name_all(*(f"{key}={value}" for key, value in values.items()))

    @rule(listing=st.sampled_from("ab"), key=st.sampled_from("xyz"), value=st.sampled_from("12"))
    def comes_or_changes(self, listing: str, key: str, value: str) -> None:
        self.world[listing][listing + key] = value
        self.show()

    @rule(listing=st.sampled_from("ab"), key=st.sampled_from("xyz"))
    def goes(self, listing: str, key: str) -> None:
        self.world[listing].pop(listing + key, None)
        self.show()

    @rule(seconds=st.sampled_from([1, 601, 4000, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.open += self.case.later(seconds)

    @rule(names=st.integers(1, 40))
    def many_come_and_one_slice_is_taken(self, names: int) -> None:
        for number in range(names):
            self.world["b"][f"many{number}"] = "1"
        self.show()
        self.case.clock.forward(601)
        self.open += self.case.sensor.poll(self.case.clock.boot_ns())

    @rule()
    def somebody_asks(self) -> None:
        self.case.sensor.restate()

    @rule()
    def a_batch_is_sealed(self) -> None:
        for seen in self.open:
            assert isinstance(seen, InventoryItem)
            value = seen.item.value
            assert isinstance(value, Setting)
            if seen.change is Change.REMOVED:
                assert value.name in self.known
                del self.known[value.name]
            else:
                assert seen.change is Change.PRESENT or value.name not in self.known
                self.known[value.name] = str(value.value)
        self.open = []
        self.cursor = self.case.sensor.cursor()

    @rule()
    def the_sensor_is_killed(self) -> None:
        self.open = list(self.case.start(self.cursor))

    @invariant()
    def what_was_sealed_is_the_host_once_all_is_told(self) -> None:
        mine = {name: value for values in self.world.values() for name, value in values.items()}
        if self.is_settled:
            assert self.known == mine

    @property
    def is_settled(self) -> bool:
        """Whether all is told and sealed; only asked after `comes_to_rest`."""
        settled, self._settled = getattr(self, "_settled", False), False
        return settled

    @rule()
    def comes_to_rest(self) -> None:
        self.time_passes(1300)
        self.a_batch_is_sealed()
        self._settled = True

    def teardown(self) -> None:
        self.case.sensor.stop()
        self.folder.cleanup()


TestStating = Stating.TestCase
TestStating.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
