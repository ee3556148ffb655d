import argparse
import time
from pathlib import Path

import pytest

from agent.commands import run
from agent.commands.status import read_state
from agent.config import AgentSettings
from agent.layout import Owners
from agent.sense.headers import Committed, decode_notes
from agent.sense.profiles import ProfileName
from agent.sense.settings import SenseSettings, SensorSettings
from proto import codec
from proto.model import HealthState
from runtime.settings import BadSettings
from tests.agent.daemons import SENSE, SHIP, Daemon, a_daemon, a_split_machine, status_of
from tests.agent.machine import Machine

DNS = "61004"
FEW = '[sense.sensors]\nenabled = ["packages"]\n[metrics]\nport = 0\n'


def test_both_halves_run_and_both_are_gone_when_it_stops(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    machine.configure(FEW)

    with a_daemon(machine, "run") as daemon:
        daemon.until("READY=1")
        halves = {pid: _words(pid) for pid in daemon.children()}
        running = read_state(machine.settings)["sense_running"]
        code = daemon.stop()

    assert code == 0
    assert running
    assert {words[4] for words in halves.values()} == {"sense", "ship"}
    assert all("-P" in words for words in halves.values())
    assert not any(Path(f"/proc/{pid}").exists() for pid in halves)
    assert read_state(machine.settings)["stopped_cleanly"]


def test_a_missing_split_is_said_with_its_reason(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    machine.configure(FEW)

    with a_daemon(machine, "run") as daemon:
        daemon.until("READY=1")
        daemon.stop()

    assert "split=none: both halves have one user\n" in daemon.err


@pytest.mark.root
def test_started_by_root_the_halves_are_two_users_and_neither_is_root() -> None:
    with a_split_machine() as machine:
        machine.config.write_text(machine.config.read_text() + FEW)
        with a_daemon(machine, "run") as daemon:
            daemon.until("READY=1")
            users = {status_of(pid)["Uid"] for pid in daemon.children()}
            code = daemon.stop()

    assert code == 0
    assert users == {"\t".join([uid] * 4) for uid in (SENSE, SHIP)}
    assert "split=none" not in daemon.err


@pytest.mark.root
def test_with_the_profile_full_dns_packets_are_seen_by_a_third_user() -> None:
    with a_split_machine() as machine:
        text = machine.config.read_text().replace(
            "[privileges]\n", f'[privileges]\ndns_user = "{DNS}"\n'
        )
        machine.config.write_text(
            f'{text}[sense]\nprofile = "full"\n[sense.sensors]\nenabled = ["dns"]\n'
            "[metrics]\nport = 0\n"
        )
        with a_daemon(machine, "run") as daemon:
            daemon.until("READY=1")
            users = users_once(daemon, {DNS, SENSE, SHIP})
            door = Path(machine.paths.dns_door).stat()
            code = daemon.stop()
        # Stopping seals the last header, with what every sensor saw.
        words = newest_states(machine)

    assert users == {DNS, SENSE, SHIP}
    assert (door.st_uid, door.st_gid) == (int(SENSE), int(DNS))
    assert words == {"dns": HealthState.OK}
    assert code == 0


def users_once(daemon: Daemon, wanted: set[str]) -> set[str]:
    """The users of the children, once they are those, and the one of DNS has shut itself in."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = [status_of(pid) for pid in daemon.children()]
        users = {status["Uid"].split()[0] for status in found}
        shut_in = {status["Uid"].split()[0] for status in found if status["Seccomp"] == "2"}
        if users == wanted and DNS in shut_in:
            return users
        time.sleep(0.1)
    return set()


def newest_states(machine: Machine) -> dict[str, HealthState]:
    """What the newest header says of the sensors."""
    notes = [note for *_, note in decode_notes((machine.sense / "headers.log").read_bytes())]
    newest = [note for note in notes if isinstance(note, Committed) and note.batches][-1]
    header = codec.decode_header(newest.batches[-1].header)
    return {status.sensor: status.state for status in header.sensors}


def test_a_half_with_nothing_to_run_ends_the_whole(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    machine.configure('[sense.sensors]\nenabled = ["keylogger"]\n[metrics]\nport = 0\n')

    with a_daemon(machine, "run") as daemon:
        daemon.process.wait(30)

    assert daemon.code not in {0, None}
    assert "the sensors are:" in daemon.err


def test_nothing_is_started_with_settings_that_are_not_allowed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "[uplink]\nsurprise = 1\n")

    with pytest.raises(BadSettings):
        run.run(argparse.Namespace(config=machine.config))

    assert not Path(machine.paths.state).exists()


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def wanting(profile: ProfileName, enabled: tuple[str, ...] = ("dns",)) -> AgentSettings:
    sensors = SensorSettings(enabled=enabled)
    return AgentSettings(sense=SenseSettings(profile=profile, sensors=sensors))


@pytest.mark.parametrize(
    ("settings", "dns_uid", "rights", "wanted"),
    [
        (wanting("full"), 61004, {"net_raw"}, True),
        (wanting("standard"), 61004, {"net_raw"}, False),
        (wanting("full", ("files",)), 61004, {"net_raw"}, False),
        (wanting("full"), None, {"net_raw"}, False),
        (wanting("full"), 61004, set(), False),
    ],
)
def test_the_unit_of_dns_packets_is_started_where_it_is_wanted_and_can_work(
    monkeypatch: pytest.MonkeyPatch,
    settings: AgentSettings,
    dns_uid: int | None,
    rights: set[str],
    *,
    wanted: bool,
) -> None:
    monkeypatch.setattr(run, "held", lambda: rights)

    assert run.sees_dns(settings, Owners(1, 2, 3, dns_uid, dns_uid)) is wanted
