import os
from pathlib import Path

import pytest

from collector.correlate.rules import ATTACK_VERSION, RULES
from proto.model import FindingKind, Rule, Severity
from tests.proto.builders import a_finding

DATA = Path(os.environ.get("VEDETTE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))


def test_rules_have_ids_of_their_own_and_a_digest_that_follows_every_value() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert len({rule.digest for rule in RULES}) == len(RULES)
    assert all(len(rule.digest) == 32 for rule in RULES)


def test_a_rule_counts_only_what_it_selects() -> None:
    several, logins = RULES

    assert several.selects(a_finding())
    assert not several.selects(a_finding(severity=Severity.INFORMATIONAL))
    assert not several.selects(a_finding(kind=FindingKind.COMPLIANCE))
    assert logins.selects(a_finding(rule=Rule("login.failed"), severity=Severity.LOW))
    assert not logins.selects(a_finding())


def test_techniques_exist_in_the_attack_version_named() -> None:
    table = DATA / "attack" / "enterprise-techniques.tsv"
    if not table.exists():
        pytest.skip("no ATT&CK table at VEDETTE_TEST_DATA or ../shared/data")
    known = {line.split("\t")[0] for line in table.read_text().splitlines()}

    named = {attack.technique for rule in RULES for attack in rule.attack}

    assert named <= known
    assert all(a.version == ATTACK_VERSION for rule in RULES for a in rule.attack)
