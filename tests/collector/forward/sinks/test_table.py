"""Every kind of destination has one sink, named in one table."""

from pathlib import Path
from typing import get_args

from collector.forward.settings import AnyDestination
from collector.forward.sinks.table import SINKS, build
from tests.collector.forward.builders import a_file, a_hec, a_syslog
from tests.fakes.clock import FakeClock


def test_every_destination_that_can_be_set_has_a_sink() -> None:
    assert set(SINKS) == set(get_args(AnyDestination))


def test_building_a_sink_touches_nothing(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")

    for destination in (
        a_hec(tmp_path, token_file=nowhere, ca_file=nowhere),
        a_syslog(ca_file=nowhere),
        a_file(tmp_path / "no" / "such" / "directory"),
    ):
        assert isinstance(build(destination, FakeClock()), SINKS[type(destination)])  # type: ignore[arg-type]
