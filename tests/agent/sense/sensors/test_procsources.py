"""What can be opened is opened, and what cannot is said."""

from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.execrecord import ArgvSource
from agent.sense.sensors.overlays import Overlays
from agent.sense.sensors.procdir import Proc
from agent.sense.sensors.procsources import COPY, PRIVATE, Sources, Wanted, open_sources, renew
from runtime.clock import SystemClock
from runtime.errors import VedetteError
from tests.agent.sense.sensors.elves import open_descriptors
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.fakes.argv import FakeArgv

BUFFER = 1 << 20


def opened(wanted: Wanted, root: Path | str = "/") -> Sources:
    host = HostRoot(root)
    proc = Proc(host)
    sources = open_sources(host, proc, SystemClock(), wanted)
    proc.close()
    host.close()
    return sources


@pytest.mark.root
def test_every_source_that_is_wanted_and_there_is_opened_and_closed() -> None:
    before = open_descriptors()
    argv = FakeArgv()

    sources = opened(Wanted(BUFFER, exits=False, opens=True, argv=lambda: argv))

    if sources.connector is None or sources.files is None:
        pytest.skip(f"not here: {sources.limits} {sources.notes}")
    assert sources.argv is argv
    assert (sources.limits, sources.notes) == ((), ())
    sources.close()
    sources.close()
    assert argv.is_closed
    assert open_descriptors() <= before


def test_a_source_that_is_not_wanted_is_not_opened() -> None:
    sources = opened(Wanted(BUFFER, exits=False, opens=False))

    assert sources.files is None
    assert sources.argv is None
    sources.close()


def test_no_source_of_arguments_is_a_note_and_narrows_nothing() -> None:
    def refuse() -> ArgvSource:
        raise VedetteError("no rule for execve")

    sources = opened(Wanted(BUFFER, exits=False, opens=False, argv=refuse))

    if sources.connector is None:
        pytest.skip(f"no process events here: {sources.limits}")
    assert sources.argv is None
    assert sources.notes == ("arguments are read from /proc: no rule for execve",)
    sources.close()


def test_no_event_belongs_to_a_copy_of_a_proc(tmp_path: Path) -> None:
    sources = opened(Wanted(BUFFER, exits=False, opens=True), a_golden_host("debian12", tmp_path))

    assert sources.connector is None
    assert sources.limits in {(COPY,), (PRIVATE,)}


@pytest.mark.root
def test_renewing_marks_what_is_mounted() -> None:
    sources = opened(Wanted(BUFFER, exits=False, opens=True))
    if sources.files is None:
        pytest.skip(f"not here: {sources.limits} {sources.notes}")

    renew(sources.files, Overlays())

    assert Path("/").stat().st_dev in sources.files.marks.by_device
    sources.close()
