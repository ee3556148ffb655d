from pathlib import Path

import pytest

from collector.commands import config
from collector.settings import read_settings
from tests.collector.shell import Shell


def test_a_good_configuration_is_said_to_be_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = Shell(tmp_path).run("config", "check")

    assert code == 0
    assert capsys.readouterr() == ("", "the configuration is good\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[admit]\nchunk = 1", "admit.chunk = 1: unknown key"),
        ("[comply]\nsettle_s = -1", "comply.settle_s = -1: Expected `int` >= 0"),
        ('[[forward]]\ntype = "jsonl"\nname = "a"\n', "forward.[0].path: is required"),
        ('[[feeds.sources]]\nname = "a"\n', "feeds.sources.[0].path: is required"),
        ("[admit\n", "is not TOML"),
    ],
)
def test_a_bad_key_ends_with_exit_4_and_names_file_key_and_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    shell = Shell(tmp_path)
    shell.configure(text)

    codes = {action: shell.run("config", action) for action in ("check", "show")}

    out, err = capsys.readouterr()
    assert codes == {"check": 4, "show": 4}
    assert out == ""
    assert err.count(f"vedette-collector: {shell.config}: {told}") == 2


def test_the_environment_counts_as_it_does_for_the_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDETTE__FEEDS__INTERVAL_S", "5")

    code = Shell(tmp_path).run("config", "check")

    assert code == 4
    assert "VEDETTE__FEEDS__INTERVAL_S: feeds.interval_s" in capsys.readouterr().err


def test_what_is_shown_is_the_whole_configuration_and_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.configure('[[forward]]\ntype = "jsonl"\nname = "a"\npath = "/x"\n')

    code = shell.run("config", "show")

    copy = tmp_path / "copy.toml"
    copy.write_text(capsys.readouterr().out)
    assert code == 0
    assert read_settings(copy, {}, missing_ok=False) == shell.settings
    assert "[retention]" in copy.read_text()
    assert config.__doc__
