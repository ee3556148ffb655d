import argparse
import json
import signal
from pathlib import Path

import pytest

from agent import binding
from agent.commands import sense
from agent.commands.status import read_state
from agent.identity import load_identity
from agent.privileges import CAPABILITIES, held
from agent.sense.profiles import PROFILES
from proto.model import Health
from tests.agent.daemons import GROUP, SENSE, SHIP, a_daemon, a_split_machine, status_of
from tests.agent.machine import Machine

FEW = '[sense.sensors]\nenabled = ["packages"]\n[metrics]\nport = 0\n'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    machine.configure(FEW)
    return machine


def test_it_seals_until_it_is_told_to_stop_and_a_second_one_is_locked_out(
    machine: Machine,
) -> None:
    with a_daemon(machine, "sense") as first:
        first.until("READY=1")
        running = read_state(machine.settings)["sense_running"]
        with a_daemon(machine, "sense") as second:
            second.process.wait(30)
        code = first.stop()

    state = read_state(machine.settings)
    assert running
    assert (second.code, code) == (7, 0)
    assert "another process holds" in second.err
    assert (state["sense_running"], state["stopped_cleanly"]) == (False, True)
    assert isinstance(state["batches_owed"], int)
    assert state["batches_owed"] > 0


def test_it_can_gain_nothing_and_tells_its_parent_that_it_stops(machine: Machine) -> None:
    with a_daemon(machine, "sense") as daemon:
        daemon.until("READY=1")
        status = status_of(daemon.pid)
        daemon.process.send_signal(signal.SIGINT)
        code = daemon.process.wait(30)

        assert status["NoNewPrivs"] == "1"
        assert code == 0
        assert Path(machine.paths.door).parent.is_dir()


@pytest.mark.root
@pytest.mark.parametrize("name", PROFILES)
def test_started_by_root_it_is_its_own_user_with_what_its_profile_keeps_and_no_more(
    name: str,
) -> None:
    may = held() & set(PROFILES[name].keeps)

    with a_split_machine() as machine:
        text = machine.config.read_text()
        machine.config.write_text(f'{text}\n[sense]\nprofile = "{name}"\n')
        _seals_as_its_own_user(machine, may)


def _seals_as_its_own_user(machine: Machine, may: set[str]) -> None:
    with a_daemon(machine, "sense") as daemon:
        daemon.until("READY=1")
        status = status_of(daemon.pid)
        code = daemon.stop()
        owners = {Path(path).stat().st_uid for path in (machine.paths.outbox, machine.paths.sense)}
        readers = {path.stat().st_gid for path in Path(machine.paths.outbox).glob("*.seg")}

    bits = sum(1 << CAPABILITIES[name] for name in may)
    assert code == 0
    assert status["Uid"].split() == [SENSE] * 4
    assert status["Gid"].split() == [GROUP] * 4
    assert status["Groups"] == ""
    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")] == [bits, bits, 0]
    assert owners == {int(SENSE)}
    assert readers == {int(GROUP)}
    assert SHIP not in status["Uid"]


def test_it_has_no_options_of_its_own() -> None:
    parser = argparse.ArgumentParser(add_help=False)

    sense.add_arguments(parser)

    assert vars(parser.parse_args([])) == {}


def test_a_sensor_that_there_is_not_is_exit_4(machine: Machine) -> None:
    machine.configure('[sense.sensors]\nenabled = ["keylogger"]\n')

    with a_daemon(machine, "sense") as daemon:
        daemon.process.wait(30)

    assert daemon.code == 4
    assert "the sensors are:" in daemon.err


def test_what_it_logs_is_json_and_holds_no_key(machine: Machine) -> None:
    with a_daemon(machine, "sense") as daemon:
        daemon.until("READY=1")
        daemon.stop()

    assert all(json.loads(line) for line in daemon.err.splitlines())
    assert machine.host.key.private_bytes().hex() not in daemon.err
    assert "PRIVATE" not in daemon.err


@pytest.mark.root
def test_started_as_its_own_user_by_somebody_who_made_the_split_it_runs_as_well() -> None:
    with a_split_machine() as machine, a_daemon(machine, "sense", user=SENSE) as daemon:
        daemon.until("READY=1")
        status = status_of(daemon.pid)
        code = daemon.stop()
        modes = [Path(path).stat().st_mode & 0o777 for path in (machine.ship, machine.sense)]
        owner = machine.ship.stat().st_uid

    assert code == 0
    assert status["Uid"].split() == [SENSE] * 4
    assert (modes, owner) == ([0o700, 0o700], int(SHIP))


@pytest.mark.parametrize("half", ["sense", "ship"])
def test_on_another_machine_neither_half_uses_the_identity(machine: Machine, half: str) -> None:
    agent = load_identity(machine.sense).agent
    machine_id = Path(machine.paths.host_root) / "etc/machine-id"
    machine_id.write_text("one\n")
    for directory in (machine.sense, machine.ship):
        binding.bind(directory, binding.binding_of(agent, machine.paths.host_root))
    machine_id.write_text("two\n")

    with a_daemon(machine, half) as daemon:
        daemon.process.wait(30)

    assert daemon.code == 6
    assert "made on another machine" in daemon.err
    assert not (machine.sense / "headers.log").exists()


def test_profile_and_machine_are_the_first_things_sealed(machine: Machine) -> None:
    with a_daemon(machine, "sense") as daemon:
        daemon.until("READY=1")
        machine.wait_for_a_batch()
        daemon.stop()

    told = [r for r in machine.records() if isinstance(r, Health)]
    assert [health.subject for health in told[:2]] == ["profile", "binding"]
    assert told[0].rung == "standard"
