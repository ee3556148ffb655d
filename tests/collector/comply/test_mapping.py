import pytest
from msgspec import structs

from collector.comply.framework import FrameworkRejected, builtin_frameworks
from collector.comply.mapping import WEIGHTS, build_catalogue
from proto.content.checks import CheckPack, CheckSpec, Strength, builtin_pack
from proto.model import Severity
from runtime.clock import NS_PER_S
from tests.collector.comply.builders import a_catalogue

PACK = builtin_pack()
CHECK = PACK.checks[0]


def a_pack(**changes: object) -> CheckPack:
    mapping = structs.replace(CHECK.mappings[0], **changes)
    return structs.replace(PACK, checks=(structs.replace(CHECK, mappings=(mapping,)),))


def test_every_mapping_we_ship_names_an_edition_a_requirement_and_a_facet() -> None:
    catalogue = a_catalogue()

    assert set(catalogue.checks) == {check.id for check in PACK.checks}
    assert [len(scheme.items) for scheme in catalogue.schemes] == [287, 93, 61]
    for scheme in catalogue.schemes:
        assert set(scheme.references) == set(catalogue.checks)


@pytest.mark.parametrize(
    "changes",
    [
        {"edition": "4"},
        {"framework": "csf"},
        {"reference": "ac-99"},
        {"reference": "sc-34"},
        {"facet": "classification"},
        {"facet": "nothing"},
    ],
    ids=str,
)
def test_a_mapping_to_what_is_not_there_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FrameworkRejected, match=CHECK.id):
        build_catalogue(a_pack(**changes), builtin_frameworks())


@pytest.mark.parametrize("reference", ["A.12.4.1", "12.4.1", "A.8.5"])
def test_the_numbers_of_an_older_edition_are_refused(reference: str) -> None:
    pack = a_pack(framework="iso27001", edition="2022", reference=reference)

    with pytest.raises(FrameworkRejected):
        build_catalogue(pack, builtin_frameworks())


def test_weight_follows_severity() -> None:
    by_severity = {check.severity: a_catalogue().checks[check.id].weight for check in PACK.checks}

    assert by_severity == {severity: WEIGHTS[severity] for severity in by_severity}
    assert sorted(WEIGHTS.values()) == [1, 2, 4, 8]
    assert WEIGHTS[Severity.CRITICAL] == 8


def test_times_come_from_the_catalogue_and_not_from_the_host() -> None:
    rule = a_catalogue().checks[CHECK.id]

    assert rule.interval == CHECK.interval_s * NS_PER_S
    assert rule.max_age == CHECK.max_age_s * NS_PER_S


def test_an_item_knows_its_checks_and_how_far_each_speaks() -> None:
    scheme = a_catalogue().schemes[2]
    items = {item.requirement.id: item for item in scheme.items}

    strengths = {one.check: one.strength for one in items["CC6.6"].mapped}

    assert strengths["linux.components.host_firewall"] is Strength.PARTIAL
    assert items["CC1.1"].mapped == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda check: structs.replace(check, version=2),
        lambda check: structs.replace(check, severity=Severity.LOW),
        lambda check: structs.replace(check, max_age_s=check.max_age_s - 1),
        lambda check: structs.replace(check, mappings=check.mappings[:-1]),
    ],
    ids=["version", "severity", "age", "mapping"],
)
def test_the_digest_names_whatever_moves_a_score(change: object) -> None:
    last: CheckSpec = change(CHECK)  # type: ignore[operator]
    pack = structs.replace(PACK, checks=(last, *PACK.checks[1:]))

    digest = build_catalogue(pack, builtin_frameworks()).schemes[2].digest

    assert digest != a_catalogue().schemes[2].digest


def test_the_digest_does_not_follow_words_or_the_order_of_checks() -> None:
    reordered = structs.replace(PACK, checks=tuple(reversed(PACK.checks)))
    reworded = structs.replace(
        PACK, checks=tuple(structs.replace(check, remediation="x" * 50) for check in PACK.checks)
    )

    for pack in (reordered, reworded):
        schemes = build_catalogue(pack, builtin_frameworks()).schemes
        assert [one.digest for one in schemes] == [one.digest for one in a_catalogue().schemes]
