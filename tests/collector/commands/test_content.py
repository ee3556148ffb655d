"""The laws of ``content``."""

import argparse
import json
from pathlib import Path

import pytest

from collector.commands.content import add_arguments, run
from collector.content.errors import RulesUnreadable
from collector.feeds.errors import OfflineKeyNeeded
from collector.feeds.publish import Publisher
from collector.settings import read_settings
from proto.content.index import MappedIndex
from proto.content.rulesfile import read
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


RULES = Path(__file__).parents[2] / "data" / "sigma"


def test_compile_writes_the_rules_of_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "content.vdr"

    assert content(tmp_path, "compile", "--sigma", str(RULES), "--out", str(out), "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["rules"], told["filters"], told["refused"], told["remarks"]) == (3, 1, 0, [])
    assert told["size_bytes"] == out.stat().st_size
    assert len(read(out.read_bytes()).rules) == 3


def test_compile_names_the_rule_that_is_left_out_and_exits_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "bad.yml").write_text("title: x\nid: mine\n")
    (rules / "good.yml").write_text((RULES / "rules" / "keywords.yml").read_text())
    out = tmp_path / "content.vdr"

    assert content(tmp_path, "compile", "--sigma", str(rules), "--out", str(out)) == 3

    told = capsys.readouterr()
    assert told.out.startswith("1 rules, ")
    assert "bad.yml: mine: refused: " in told.err


def test_compile_without_any_rule_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RulesUnreadable):
        content(tmp_path, "compile", "--sigma", str(tmp_path), "--out", str(tmp_path / "x.vdr"))

    assert not (tmp_path / "x.vdr").exists()
