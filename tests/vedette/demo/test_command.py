import argparse
import json
from pathlib import Path

import pytest

from vedette.demo import command
from vedette.demo.play import Outcome, Play
from vedette.demo.stage import DemoFailed

# What scripts read of ``vedette demo --json``.
CONTRACT = {
    "findings",
    "by_kind",
    "batches",
    "receipts",
    "incidents",
    "frameworks",
    "forwarded",
    "proof_verified",
    "lost",
    "duplicated",
    "seconds",
}
GOOD = Outcome(findings=3, by_kind={"detection": 3}, proof_verified=True, split="users")


def run(monkeypatch: pytest.MonkeyPatch, outcome: Outcome, **options: object) -> int:
    monkeypatch.setattr(Play, "run", lambda _self: outcome)
    return command.run(argparse.Namespace(**({"json": False, "keep": None} | options)))


def test_the_json_object_has_the_keys_of_the_contract(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, GOOD, json=True) == 0

    assert json.loads(capsys.readouterr().out).keys() == CONTRACT


def test_the_summary_says_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, GOOD)

    shown = capsys.readouterr().out
    assert "3 detection" in shown
    assert "verified offline" in shown
    assert "users" in shown


@pytest.mark.parametrize(
    "bad",
    [Outcome(), Outcome(proof_verified=True, lost=1), Outcome(proof_verified=True, duplicated=1)],
)
def test_a_demo_that_shows_less_than_it_promises_fails(
    monkeypatch: pytest.MonkeyPatch, bad: Outcome
) -> None:
    assert run(monkeypatch, bad) == 1


def test_what_is_kept_is_never_written_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DemoFailed, match="exists already"):
        run(monkeypatch, GOOD, keep=tmp_path)

    assert run(monkeypatch, GOOD, keep=tmp_path / "new") == 0
    assert (tmp_path / "new").is_dir()
