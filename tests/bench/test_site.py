import os
import subprocess

import pytest

from bench.site import Site, a_site
from vedette.demo.stage import Stage


def test_nothing_remains_of_a_site() -> None:
    with a_site() as site:
        root = site.stage.root
        assert root.is_dir()

    assert not root.exists()


def test_processes_use_bytecode_of_their_own_and_the_environment_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)

    with a_site() as site:
        assert os.environ["PYTHONPYCACHEPREFIX"].startswith(str(site.stage.root))
        assert "PYTHONDONTWRITEBYTECODE" not in os.environ

    assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "PYTHONPYCACHEPREFIX" not in os.environ


def test_a_process_is_found_under_its_daemon_by_a_word_of_its_command_line() -> None:
    class OnStage(Stage):
        def pid(self, name: str) -> int:
            assert name == "agent"
            return os.getpid()

    with a_site() as empty, subprocess.Popen(["sleep", "31.7"]) as child:
        site = Site(OnStage(empty.stage.root))
        found = site.pid("agent", "31.7")
        absent = site.pid("agent", "31.8")
        itself = site.pid("agent")
        child.kill()

    assert found == child.pid
    assert absent == 0
    assert itself == os.getpid()
