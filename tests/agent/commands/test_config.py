import argparse
from pathlib import Path

import pytest

from agent.commands import config
from agent.config import read_settings
from runtime.settings import BadSettings
from tests.agent.machine import Machine


def test_a_good_configuration_is_said_to_be_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = Machine(tmp_path).run("config", "check")

    assert code == 0
    assert capsys.readouterr() == ("", "the configuration is good\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[uplink]\nwindow = 1", "uplink.window = 1: unknown key"),
        ("[metrics]\nport = -1", "metrics.port = -1: Expected `int` >= 0"),
        ("[sense.recorder]\nobservations_max = -1", "sense.recorder.observations_max = -1: "),
        ('[log]\nlevel = "\x1b[2J"', "is not TOML"),
    ],
)
def test_a_bad_key_ends_with_exit_4_and_names_file_key_and_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    machine = Machine(tmp_path, text)

    codes = {action: machine.run("config", action) for action in ("check", "show")}

    out, err = capsys.readouterr()
    assert codes == {"check": 4, "show": 4}
    assert out == ""
    assert err.count(f"vedette-agent: {machine.config}: {told}") == 2
    assert all(line.isprintable() for line in err.splitlines())


def test_an_override_from_the_environment_is_named_when_it_is_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDETTE__METRICS__PORT", "many")

    code = Machine(tmp_path).run("config", "check")

    assert code == 4
    assert "VEDETTE__METRICS__PORT: metrics.port" in capsys.readouterr().err


def test_what_is_shown_is_the_whole_configuration_and_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, "[metrics]\nport = 9\n")

    code = machine.run("config", "show")

    shown = tmp_path / "shown.toml"
    shown.write_text(capsys.readouterr().out)
    assert code == 0
    assert read_settings(shown, {}, missing_ok=False) == machine.settings
    assert machine.settings.metrics.port == 9


def test_an_error_is_the_callers_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, "[paths\n")

    with pytest.raises(BadSettings):
        config.run(argparse.Namespace(config=machine.config, action="check"))

    assert capsys.readouterr() == ("", "")
