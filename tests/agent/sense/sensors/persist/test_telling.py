"""What is told is kept first, with its source, and can be sealed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from agent.sense.ports import SensorSpec
from agent.sense.sensors.persist.loginrecords import WTMP, Record
from agent.sense.sensors.persist.telling import Teller
from agent.sense.sensors.told import Told, ToldLimits
from proto import codec
from proto.model import (
    Change,
    Drop,
    InventoryItem,
    Login,
    Observation,
    ObservationKind,
    Persistence,
)
from tests.fakes.clock import FakeClock

SPEC = SensorSpec("persistence", "s", "c", "m", "p", "cost")
ITEM = Persistence("cron_job", "@daily", "/etc/crontab", "run")
LIMITS = ToldLimits(1 << 22, 100)


@pytest.fixture
def teller(tmp_path: Path) -> Iterator[Teller]:
    told = Told(tmp_path / "state.db", LIMITS)
    told.open(b"")
    made = Teller(SPEC, told, FakeClock())
    made.begin("stat")
    yield made
    told.close()


def test_an_entry_is_an_item_and_an_observation(teller: Teller) -> None:
    teller.entry(Change.ADDED, ITEM, 7)

    item, seen = teller.out
    assert isinstance(item, InventoryItem)
    assert isinstance(seen, Observation)
    assert (item.change, seen.kind) == (Change.ADDED, ObservationKind.PERSISTENCE_ADDED)
    assert (seen.event_time, seen.source.rung) == (7, "stat")


def test_a_changed_entry_is_one_gone_another_come_and_a_change(teller: Teller) -> None:
    user = structs.replace(ITEM, mechanism="user")

    teller.changed(user, structs.replace(user, value="other"), 0)

    gone, come, seen = teller.out
    assert isinstance(gone, InventoryItem)
    assert isinstance(come, InventoryItem)
    assert isinstance(seen, Observation)
    assert (gone.change, come.change) == (Change.REMOVED, Change.ADDED)
    assert seen.kind is ObservationKind.ACCOUNT_CHANGED
    assert seen.event_time == FakeClock().wall_ns()


def test_a_login_names_its_file_and_a_loss_its_time(teller: Teller) -> None:
    teller.login(Record(Login(), 5, WTMP))
    teller.loss("it was cut", 3)

    login, drop = teller.out
    assert isinstance(login, Observation)
    assert isinstance(drop, Drop)
    assert (login.source.rung, login.event_time) == ("wtmp", 5)
    assert (drop.detail, drop.first) == ("it was cut", 3)


def test_what_was_told_is_told_again_where_it_was_not_sealed(tmp_path: Path) -> None:
    told = Told(tmp_path / "state.db", LIMITS)
    told.open(b"")
    sealed = told.cursor()
    teller = Teller(SPEC, told, FakeClock())
    teller.entry(Change.PRESENT, ITEM)
    told.commit(1)
    told.close()
    told = Told(tmp_path / "state.db", LIMITS)
    told.open(sealed)

    assert told.replay(10) == teller.out
    told.close()
    assert all(codec.encode_record(one) for one in teller.out)
