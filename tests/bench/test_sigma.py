import random
from pathlib import Path

import pytest

from agent.sense.match.sigma import RuleEngine
from agent.sense.match.sigmaevent import SigmaEvent
from bench import sigma
from bench.report import BenchFailed
from proto.content.rules import RuleSource
from proto.content.rulesfile import written
from tests.collector.content.rulesources import own

RULES = own().rules


def test_every_mix_is_judged_and_agrees_with_the_naive_way(tmp_path: Path) -> None:
    (tmp_path / "content.vdr").write_bytes(written(RULES))

    for mix in sigma.MIXES:
        told = sigma.judge_mix(mix, tmp_path / "content.vdr", 200)
        assert told["events_per_second"] > 0
        assert told["naive_events_per_second"] > 0


def test_events_are_made_around_the_rules() -> None:
    engine = RuleEngine(RULES)
    base = sigma.a_process(0, random.Random(1))

    met = {
        match.rule.id
        for rule in RULES.rules
        for match in engine.match(sigma.meeting(rule, RULES, base))
    }

    assert len(met) >= 2
    assert len(met) > len(engine.match(base))


def test_rules_are_there_with_and_without_those_of_the_community(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VEDETTE_TEST_DATA", str(tmp_path))

    assert list(sigma.rules_place().rglob("*.yml"))


def test_a_lost_match_fails_the_benchmark() -> None:
    class Deaf(RuleEngine):
        def match(self, event: object) -> list[object]:  # type: ignore[override]
            return []

    shell = {"Image": "/bin/sh", "CommandLine": "/dev/tcp/"}
    event = SigmaEvent((RuleSource("linux", "process_creation"),), shell)

    with pytest.raises(BenchFailed):
        sigma.naive(Deaf(RULES), [event])
