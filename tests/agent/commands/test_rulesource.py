from pathlib import Path

import pytest

from agent.commands import rulesource
from agent.commands.rulesource import NoRules, compiler, rules_at
from proto.content.errors import ContentDamaged
from proto.content.rulesfile import written
from tests.collector.content.rulesources import OWN
from tests.proto.content.rulebuilders import a_rule_set


def test_a_compiled_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "content.vdr").write_bytes(written(a_rule_set()))

    assert rules_at(tmp_path / "content.vdr") == a_rule_set()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "content.vdr").write_bytes(written(a_rule_set())[:-1])

    with pytest.raises(ContentDamaged):
        rules_at(tmp_path / "content.vdr")


def test_sigma_is_compiled_where_the_compiler_is_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if compiler() is None:
        pytest.skip("the collector is not installed beside this Python")

    assert len(rules_at(OWN).rules) == 3
    assert len(rules_at(OWN / "rules" / "keywords.yml").rules) == 1
    assert capsys.readouterr().err == ""


def test_what_the_compiler_says_is_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if compiler() is None:
        pytest.skip("the collector is not installed beside this Python")
    (tmp_path / "bad.yml").write_text("title: x\nid: mine\n")

    (tmp_path / "good.yml").write_text((OWN / "rules" / "keywords.yml").read_text())
    assert len(rules_at(tmp_path).rules) == 1
    assert "mine: refused" in capsys.readouterr().err

    (tmp_path / "good.yml").unlink()
    (tmp_path / "bad.yml").unlink()
    with pytest.raises(NoRules, match="no rules"):
        rules_at(tmp_path)


def test_without_the_compiler_it_is_said_where_to_find_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulesource, "compiler", lambda: None)

    with pytest.raises(NoRules) as caught:
        rules_at(tmp_path)

    assert "vedette-collector content compile" in caught.value.hint
    with pytest.raises(NoRules, match="no such"):
        rules_at(tmp_path / "absent")
