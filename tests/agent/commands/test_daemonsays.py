from pathlib import Path

from agent.commands.daemonsays import DaemonWord, daemon_words
from runtime.files import FileLock
from tests.agent.daemons import a_daemon
from tests.agent.machine import Machine


def test_nothing_is_said_where_no_daemon_runs(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)

    assert daemon_words(machine.settings) == {}
    (machine.sense / "headers.log").unlink()
    assert daemon_words(machine.settings) == {}


def test_a_header_that_names_no_sensor_says_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    lock = FileLock(machine.sense / "lock")
    lock.acquire()

    assert daemon_words(machine.settings) == {}

    lock.release()


def test_the_newest_header_of_a_running_daemon_tells_of_each_sensor(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    machine.configure('[sense.sensors]\nenabled = ["packages"]\n[metrics]\nport = 0\n')

    with a_daemon(machine, "sense") as daemon:
        daemon.until("READY=1")
        machine.wait_for_a_batch()
        words = daemon_words(machine.settings)
        daemon.stop()

    assert words.keys() == {"packages"}
    word = words["packages"]
    assert isinstance(word, DaemonWord)
    assert (word.state, word.rung, word.dropped) == ("ok", "inotify", 0)
    assert 0 <= word.last_success_age_s < 60
