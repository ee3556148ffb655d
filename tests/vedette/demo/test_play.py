from pathlib import Path
from typing import Any

from vedette.demo.play import EXPECTED_RULES, FRAMEWORK_FIELDS, Outcome, Play
from vedette.demo.stage import Stage


class ToldStage(Stage):
    """A stage whose commands answer what a test says."""

    def __init__(self, root: Path, answers: dict[str, list[dict[str, Any]]]) -> None:
        super().__init__(root)
        self.answers = answers

    def ask(self, question: str) -> list[dict[str, Any]]:
        return self.answers.get(question.split("?", maxsplit=1)[0], [])


def a_play(tmp_path: Path, **answers: list[dict[str, Any]]) -> Play:
    return Play(ToldStage(tmp_path, answers), lambda _text: None)


def test_the_acts_are_done_when_each_rule_has_found_what_it_must(tmp_path: Path) -> None:
    found = [{"rule": "login.failed"}] * 6 + [{"rule": "indicator.ip_port"}]
    hashes = [{"rule": "indicator.sha256"}]

    assert not a_play(tmp_path, findings=found)._has_findings()  # noqa: SLF001
    assert not a_play(tmp_path, findings=found + hashes)._has_findings()  # noqa: SLF001
    assert a_play(tmp_path, findings=found + hashes * 2)._has_findings()  # noqa: SLF001


def test_content_and_readiness_count_only_when_there_is_something(tmp_path: Path) -> None:
    empty = a_play(tmp_path, hosts=[{"content": []}], readiness=[{"evidenced": 0}])
    full = a_play(tmp_path, hosts=[{"content": [{}]}], readiness=[{"evidenced": 2}])

    assert not empty._has_content()  # noqa: SLF001
    assert not empty._has_readiness()  # noqa: SLF001
    assert full._has_content()  # noqa: SLF001
    assert full._has_readiness()  # noqa: SLF001


def test_an_outcome_begins_with_nothing_shown() -> None:
    outcome = Outcome()

    assert (outcome.findings, outcome.lost, outcome.proof_verified) == (0, 0, False)
    assert EXPECTED_RULES
    assert "coverage_percent" in FRAMEWORK_FIELDS
