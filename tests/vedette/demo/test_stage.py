import os
import sys
from pathlib import Path

import pytest

from agent.config import read_settings as agent_settings
from collector.settings import read_settings as collector_settings
from vedette.demo.stage import DemoFailed, Stage, wait_for


def test_both_configurations_are_good_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write_collector_config("http://127.0.0.1:8088")
    stage.write_agent_config()

    collector = collector_settings(stage.collector_config, {}, missing_ok=False)
    agent = agent_settings(stage.agent_config, {}, missing_ok=False)

    assert collector.paths.root == stage.collector_state
    assert [destination.name for destination in collector.forward] == ["demo-hec"]
    assert agent.sense.sealing.low_wait_ms_max == 1000
    assert agent.sense.sensors.files.trees[0].path == str(stage.watched)
    assert len(set(stage.ports.values())) == 4


def test_the_hec_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write_collector_config("http://127.0.0.1:8088")

    assert (tmp_path / "hec-token").stat().st_mode & 0o777 == 0o600


def test_a_failed_command_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="unrecognized arguments"):
        Stage(tmp_path).command("vedette", "demo", "--nonsense")


def test_a_daemon_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start("short", "vedette", "--nonsense")
    child = stage._children["short"]  # noqa: SLF001  (to wait for its end without a race)
    child.wait(30)

    with pytest.raises(DemoFailed, match="short ended with 2: usage"):
        stage.check_alive()
    stage.stop_all()


def test_waiting_ends_when_it_happens_or_says_what_did_not() -> None:
    turns: list[int] = []

    wait_for("it", lambda: len(turns) > 1, 5, lambda: turns.append(1))

    with pytest.raises(DemoFailed, match="the impossible did not happen"):
        wait_for("the impossible", lambda: False, 0.1, lambda: None)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    root.mkdir()
    stage = Stage(root)
    assert os.access(sys.executable, os.X_OK)

    stage.remove()

    assert not root.exists()
