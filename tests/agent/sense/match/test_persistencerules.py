"""Each way to persist has one meaning, a technique that exists, and what makes it worse."""

import os
from pathlib import Path

import pytest

from agent.sense import mechanisms as ways
from agent.sense.match import persistencerules
from agent.sense.match.persistencerules import ATTACK_VERSION, NEW_RULES, NewRule, rule_of
from proto.model import Persistence, Severity, User

DATA = Path(os.environ.get("VEDETTE_TEST_DATA", Path(__file__).parents[4].parent / "shared/data"))
RULES = {
    rule.rule.id: rule
    for rule in [*NEW_RULES.values(), *vars(persistencerules).values()]
    if isinstance(rule, NewRule)
}


def an_entry(mechanism: str, value: str = "", *, name: str = "x", uid: int = 0) -> Persistence:
    return Persistence(mechanism, name, "/p", value, User(uid=uid, name="x"))


def test_every_mechanism_but_groups_means_something() -> None:
    names = {
        value
        for name, value in vars(ways).items()
        if name.isupper() and isinstance(value, str) and " " not in value and value != ways.ENABLED
    }

    assert names - NEW_RULES.keys() == {ways.GROUP, ways.GROUP_MEMBER}


def test_no_two_rules_have_one_name() -> None:
    assert len(RULES) == len({rule.title for rule in RULES.values()})
    assert all(rule.attack.version == ATTACK_VERSION for rule in RULES.values())


@pytest.mark.parametrize("name", sorted(RULES))
def test_each_technique_is_one_of_attack_with_its_tactic(name: str) -> None:
    table = DATA / "attack/enterprise-techniques.tsv"
    if not table.exists():
        pytest.skip("no ATT&CK table at VEDETTE_TEST_DATA or ../shared/data")
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines()[1:]]
    known = {row[0]: row for row in rows}
    attack = RULES[name].attack

    assert attack.technique in known
    assert attack.tactic in known[attack.technique][2].split(",")
    assert "Linux" in known[attack.technique][3]


@pytest.mark.parametrize(
    "rule",
    [
        "alice ALL=(ALL) NOPASSWD: ALL",
        "alice ALL=(ALL) NOPASSWD:ALL",
        "alice ALL=(ALL) NOPASSWD: /bin/a, ALL",
        "alice ALL=(ALL) NOPASSWD: !/bin/sh, ALL, /bin/b",
        "alice ALL=(ALL) NOPASSWD:SETENV:ALL",
    ],
)
def test_a_sudo_rule_for_everything_without_password_is_worse(rule: str) -> None:
    found = rule_of(an_entry(ways.SUDOERS_RULE, rule))

    assert found is not None
    assert found.severity is Severity.HIGH


@pytest.mark.parametrize(
    "rule",
    [
        "alice ALL=(ALL) ALL",
        "alice ALL=(ALL) NOPASSWD: /bin/a",
        "alice ALL=(ALL) NOPASSWD: /bin/ALL",
        "alice ALL=(ALL) NOPASSWD: ALLOWED",
        "alice ALL=(ALL) NOPASSWD: /bin/a, PASSWD: ALL",
    ],
)
def test_another_sudo_rule_is_not(rule: str) -> None:
    found = rule_of(an_entry(ways.SUDOERS_RULE, rule))

    assert found is not None
    assert found.severity is Severity.MEDIUM


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (an_entry(ways.USER, name="toor"), "persistence.uid_zero"),
        (an_entry(ways.USER, name="root"), "persistence.account"),
        (an_entry(ways.USER, name="a", uid=5), "persistence.account"),
        (an_entry(ways.SUDOERS_SETTING, "Defaults:a !authenticate"), "persistence.sudoers_open"),
        (an_entry(ways.SUDOERS_SETTING, "Defaults env_reset"), "persistence.sudoers_setting"),
        (an_entry(ways.GROUP_MEMBER, name="docker"), "persistence.group_member"),
        (an_entry(ways.SHELL_START, uid=1000), "persistence.shell_start_user"),
        (an_entry(ways.SHELL_START), "persistence.shell_start"),
        (an_entry(ways.KERNEL_MODULE, "taints=OE"), "persistence.kernel_module_alien"),
        (an_entry(ways.KERNEL_MODULE, "taints=P"), "persistence.kernel_module"),
        (an_entry(ways.SUID_FILE, "mode=4755 uid=0 gid=0"), "persistence.suid_root"),
        (an_entry(ways.SUID_FILE, "mode=6755 uid=0 gid=0"), "persistence.suid_root"),
        (an_entry(ways.SUID_FILE, "mode=2755 uid=0 gid=0"), "persistence.suid_file"),
        (an_entry(ways.SUID_FILE, "mode=4755 uid=5 gid=0"), "persistence.suid_file"),
        (
            an_entry(ways.FILE_CAPABILITY, "cap_net_raw,cap_setuid=ep"),
            "persistence.file_capability_strong",
        ),
        (an_entry(ways.FILE_CAPABILITY, "cap_net_raw=ep"), "persistence.file_capability"),
    ],
)
def test_what_an_entry_says_decides_its_rule(entry: Persistence, rule: str) -> None:
    found = rule_of(entry)

    assert found is not None
    assert found.rule.id == rule


def test_groups_and_what_is_not_known_mean_nothing() -> None:
    assert rule_of(an_entry(ways.GROUP)) is None
    assert rule_of(an_entry(ways.GROUP_MEMBER, name="games")) is None
    assert rule_of(an_entry("tomorrow")) is None
