import argparse
from pathlib import Path

import pytest

from agent.commands import ship
from runtime.settings import BadSettings
from tests.agent.daemons import GROUP, SHIP, a_daemon, a_split_machine, status_of
from tests.agent.machine import Machine

QUIET = "[metrics]\nport = 0\n"


def test_it_waits_for_sense_and_the_collector_until_it_is_told_to_stop(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.configure(QUIET)

    with a_daemon(machine, "ship") as daemon:
        daemon.until("READY=1")
        status = status_of(daemon.pid)
        code = daemon.stop()

    assert code == 0
    assert status["NoNewPrivs"] == "1"
    assert "Traceback" not in daemon.err


@pytest.mark.root
def test_started_by_root_it_is_its_own_user_without_any_capability() -> None:
    with a_split_machine() as machine:
        machine.config.write_text(machine.config.read_text() + QUIET)
        with a_daemon(machine, "ship") as daemon:
            daemon.until("READY=1")
            status = status_of(daemon.pid)
            code = daemon.stop()

    assert code == 0
    assert status["Uid"].split() == [SHIP] * 4
    assert status["Gid"].split() == [GROUP] * 4
    assert status["Groups"] == ""
    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")] == [0, 0, 0]


def test_what_is_wrong_in_the_sections_of_sense_is_not_its_business(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "[sense]\nsurprise = 1\n")

    with a_daemon(machine, "ship", {"VEDETTE__SENSE__SURPRISE": "1"}) as daemon:
        daemon.process.wait(30)

    assert daemon.code == 6  # it read its settings, and is not enrolled


def test_what_is_wrong_in_its_own_sections_is_exit_4(tmp_path: Path) -> None:
    machine = Machine(tmp_path)

    with a_daemon(machine, "ship", {"VEDETTE__UPLINK__SURPRISE": "1"}) as daemon:
        daemon.process.wait(30)

    assert daemon.code == 4
    assert "VEDETTE__UPLINK__SURPRISE: uplink.surprise: unknown key" in daemon.err


@pytest.mark.root  # nobody else may look into a process that seals itself
def test_it_opens_nothing_that_sense_keeps(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.configure(QUIET)

    with a_daemon(machine, "ship") as daemon:
        daemon.until("READY=1")
        opened = [str(path.readlink()) for path in Path(f"/proc/{daemon.pid}/fd").iterdir()]
        daemon.stop()

    assert opened
    assert not any(name.startswith(str(machine.sense)) for name in opened)


def test_nothing_is_started_with_settings_that_are_not_allowed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "[uplink]\nsurprise = 1\n")

    with pytest.raises(BadSettings):
        ship.run(argparse.Namespace(config=machine.config))

    assert not Path(machine.paths.state).exists()
