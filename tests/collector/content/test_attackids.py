from pathlib import Path

import pytest

from collector.content.attackids import TACTICS, named, table
from proto.content.rules import Technique
from tests.collector.content.rulesources import published


def live() -> set[str]:
    found = Path(published()).parents[1] / "attack" / "enterprise-techniques.tsv"
    if not found.is_file():
        pytest.skip("no ATT&CK table at VEDETTE_TEST_DATA or ../shared/data")
    return {line.split("\t")[0] for line in found.read_text().splitlines()[1:]}


def test_names_of_a_later_version_become_ours() -> None:
    told = named(["stealth", "t1685.004"])

    assert told.techniques == (Technique("T1562.012", "defense-evasion"),)
    assert told.unknown == ()


def test_a_technique_has_a_tactic_only_where_there_is_one_to_have() -> None:
    assert named(["persistence", "execution", "t1053.003"]).techniques == (
        Technique("T1053.003"),
        Technique(tactic="persistence"),
        Technique(tactic="execution"),
    )
    assert named(["t1059"]).techniques == (Technique("T1059"),)
    assert named(["privilege_escalation"]).techniques == (Technique(tactic="privilege-escalation"),)


def test_groups_and_software_are_no_techniques_and_not_unknown() -> None:
    assert named(["g0046", "s0029", "ds0005"]) == named([])


@pytest.mark.parametrize(
    "tag", ["t9999", "t1999", "t10591", "t1059.1", "T\u0661\u0662\u0663\u0664", "sorcery", ""]
)
def test_what_our_version_cannot_have_is_told(tag: str) -> None:
    told = named([tag, "execution"])

    assert told.unknown == (tag,)
    assert told.techniques == (Technique(tactic="execution"),)


def test_every_name_of_the_table_becomes_one_that_is_live() -> None:
    ids = live()

    for ours in table().values():
        assert ours is None or ours in TACTICS or ours in ids


def test_every_published_tag_becomes_one_that_is_live() -> None:
    ids = live()
    tags = {
        line.strip().removeprefix("- attack.")
        for path in published().rglob("*.yml")
        for line in path.read_text().splitlines()
        if line.strip().startswith("- attack.")
    }

    told = named(sorted(tags))

    assert told.unknown == ()
    assert {one.technique for one in told.techniques if one.technique} <= ids
