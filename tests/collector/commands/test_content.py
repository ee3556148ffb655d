"""The laws of ``content``."""

import argparse
import json
from pathlib import Path

import pytest

from collector.commands.content import add_arguments, run
from collector.feeds.errors import OfflineKeyNeeded
from collector.feeds.publish import Publisher
from collector.settings import read_settings
from proto.content.index import MappedIndex
from runtime.clock import SystemClock

SETTINGS = """
[paths]
state = "{root}"

[[feeds.sources]]
name = "c2"
path = "*.txt"
kind = "address"
"""


def content(tmp_path: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    add_arguments(parser)
    return run(parser.parse_args(["--config", str(tmp_path / "collector.toml"), *words]))


@pytest.fixture
def collector(tmp_path: Path) -> Path:
    (tmp_path / "collector.toml").write_text(SETTINGS.format(root=tmp_path / "state"))
    settings = read_settings(tmp_path / "collector.toml", {}, missing_ok=False).publishing
    Path(settings.lists).mkdir(parents=True)
    (Path(settings.lists) / "c2.txt").write_text("192.0.2.1\n192.0.2.2:443\nnonsense\n")
    Publisher(settings, SystemClock()).init(tmp_path / "usb" / "content")
    return tmp_path


def test_show_says_what_is_published_and_when_the_offline_keys_are_needed(
    collector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert content(collector, "show", "--json") == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown.pop("offline_days_left") in {29, 30}
    assert shown == {"version": 0, "indicators": 0, "size_bytes": 0}


def test_sign_renews_with_the_keys_that_init_wrote(
    collector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert content(collector, "sign", "--offline-keys", str(collector / "usb")) == 0

    assert "root, targets" in capsys.readouterr().err


def test_sign_without_the_keys_says_so(collector: Path) -> None:
    with pytest.raises(OfflineKeyNeeded):
        content(collector, "sign", "--offline-keys", str(collector))


def test_compile_writes_an_index_and_names_bad_rows(
    collector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert content(collector, "compile", "--out", str(collector / "x.vdx"), "--json") == 0

    assert MappedIndex((collector / "x.vdx").read_bytes()).count == 2
    told = capsys.readouterr()
    assert json.loads(told.out)[0]["bad"] == 1
    assert "c2.txt:3" in told.err


def test_compile_fails_where_a_feed_cannot_be_read(collector: Path) -> None:
    for path in (collector / "state").rglob("c2.txt"):
        path.unlink()

    assert content(collector, "compile", "--out", str(collector / "x.vdx")) == 1
