import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import AgentSettings, read_settings
from agent.settings import SharedSettings
from runtime.settings import BadSettings, load, show

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text, "utf-8")
    return path


def test_no_file_means_the_defaults_where_that_is_allowed(tmp_path: Path) -> None:
    missing = tmp_path / "none"

    assert read_settings(missing, {}, missing_ok=True) == AgentSettings()
    with pytest.raises(BadSettings, match="no such file"):
        read_settings(missing, {}, missing_ok=False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sense.outbox]\nsize_bytes_max = 1", "sense.outbox.size_bytes_max = 1: Expected"),
        ("[sens]\nx = 1", "sens = {x = 1}: unknown key"),
        ("[uplink]\nwindow_batches_max = 257", "uplink.window_batches_max = 257: Expected"),
        ("[log]\nlevel = 'loud'", 'log.level = "loud": '),
        ("[metrics]\nport = 65536", "metrics.port = 65536: Expected `int` <= 65535"),
        ("[paths]\nstate = 1", "paths.state = 1: Expected `str`, got `int`"),
        ("[paths\n", "is not TOML"),
    ],
)
def test_a_bad_key_is_named_with_file_and_rule(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(BadSettings) as caught:
        read_settings(path, {}, missing_ok=False)

    assert caught.value.message.startswith(f"{path}: {told}")
    assert caught.value.exit_code == 4


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[metrics]\nport = 1\n[paths]\nrun = '/a'\n")

    found = read_settings(path, {"VEDETTE__METRICS__PORT": "2", "OTHER": "3"}, missing_ok=False)

    assert (found.metrics.port, found.paths.run) == (2, "/a")


def test_what_is_shown_reads_back_as_it_was(tmp_path: Path) -> None:
    settings = read_settings(
        tmp_path / "none", {"VEDETTE__SENSE__SENSORS__ENABLED": '["files"]'}, missing_ok=True
    )

    path = written(tmp_path, show(settings))

    assert read_settings(path, {}, missing_ok=False) == settings


def test_ship_reads_the_same_file_without_knowing_the_section_of_sense(tmp_path: Path) -> None:
    path = written(tmp_path, "[sense.sensors]\nenabled = []\n[metrics]\nport = 0\n")

    shared = load(SharedSettings, path, {})

    assert shared.metrics.port == 0
    assert read_settings(path, {}, missing_ok=False).sense.sensors.enabled == ()


@given(TEXTS)
def test_any_text_is_settings_or_a_bad_one(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = written(tmp_path_factory.getbasetemp(), text)

    with contextlib.suppress(BadSettings):
        assert isinstance(read_settings(path, {}, missing_ok=False), AgentSettings)
