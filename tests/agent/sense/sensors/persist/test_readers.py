"""Every reader answers on a bare host and on this one."""

from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.items import Found
from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.places import read_places
from agent.sense.sensors.persist.readers import READERS
from runtime.clock import SystemClock
from tests.agent.sense.sensors.persist.looking import found_by


@pytest.mark.parametrize("name", READERS)
def test_a_bare_host_has_nothing(name: str, tmp_path: Path) -> None:
    assert found_by(READERS[name], tmp_path) == []


@pytest.mark.parametrize("name", READERS)
def test_this_host_is_read(name: str) -> None:
    host = HostRoot("/")
    look = Look(host, read_places(host).remote, SystemClock().wall_ns())

    assert all(one is None or isinstance(one, Found) for one in READERS[name](look))
