from pathlib import Path

import pytest

from collector.issuer import agents
from collector.issuer.desk import Desk, check_home
from collector.issuer.errors import IssuerRefused, IssuerUnready
from tests.collector.issuer.builders import (
    a_house,
    a_secret,
    an_enrolled_host,
    reopened,
    some_settings,
)
from tests.fakes.clock import FakeClock


def test_where_nothing_is_set_up_the_desk_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(IssuerUnready):
        Desk(some_settings(tmp_path), FakeClock())


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o755, 0o777])
def test_a_home_that_others_can_enter_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "issuer"
    home.mkdir(mode=mode)
    home.chmod(mode)

    with pytest.raises(IssuerUnready) as caught:
        check_home(home)

    assert "chmod 700" in caught.value.hint


def test_a_nonce_is_good_once_and_not_after_a_restart(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    first, second = house.desk.make_nonce(), house.desk.make_nonce()

    house.desk.take_nonce(first)

    with pytest.raises(IssuerRefused):
        house.desk.take_nonce(first)
    house = reopened(house)
    with pytest.raises(IssuerRefused):
        house.desk.take_nonce(second)
    house.desk.close()


def test_setting_the_wall_clock_does_not_change_how_long_a_nonce_is_good(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    nonce = house.desk.make_nonce()

    house.clock.wall += 10**15

    house.desk.take_nonce(nonce)
    house.desk.close()


def test_what_is_of_no_more_use_is_dropped(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    a_secret(house.desk, house.tenant)

    house.clock.forward(3 * 86_400)
    house.desk.tidy()

    with house.desk.store.reading() as db:
        assert db.execute("SELECT count(*) FROM tokens").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM certificates").fetchone() == (0,)
        assert agents.find(db, host.peer) is not None
    house.desk.close()
