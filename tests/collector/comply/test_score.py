import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from collector.comply.framework import builtin_frameworks
from collector.comply.mapping import Catalogue, build_catalogue
from collector.comply.score import Readiness, readiness, weigh
from collector.comply.standing import Host, Statement
from proto.content.checks import CheckSpec, Strength, builtin_pack
from proto.model import CheckState
from tests.collector.builders import NOW
from tests.collector.comply.builders import (
    CHECKS,
    DAY,
    EXEMPT,
    FAIL,
    HOST,
    OTHER,
    PASS,
    UNKNOWN,
    a_catalogue,
    a_population,
    a_statement,
    all_of,
)

SCHEMES = a_catalogue().schemes
HOSTS = [bytes([number]) * 16 for number in range(1, 4)]
STATES = st.sampled_from([PASS, FAIL, UNKNOWN, EXEMPT])
EPSILON = 1e-12


def ready(
    statements: list[Statement],
    hosts: dict[bytes, Host] | None = None,
    as_of: int = NOW,
    framework: int = 2,
    catalogue: Catalogue | None = None,
) -> Readiness:
    ours = catalogue or a_catalogue()
    population = a_population() if hosts is None else hosts
    return readiness(ours.schemes[framework], weigh(ours, population, statements, as_of))


worlds = st.lists(
    st.builds(
        a_statement,
        STATES,
        st.sampled_from([check.id for check in CHECKS]),
        st.sampled_from(HOSTS),
        st.none() | st.integers(NOW - 9 * DAY, NOW),
        st.integers(0, 40),
    ),
    max_size=40,
)


def distinct(world: list[Statement]) -> list[Statement]:
    """A host states one thing at one place of its chain."""
    return list({(one.host, one.check, one.order): one for one in world}.values())


def population() -> dict[bytes, Host]:
    return a_population(*HOSTS)


def test_all_fresh_passes_score_the_whole() -> None:
    reading = ready(all_of(PASS))

    assert (reading.score, reading.coverage, reading.upper) == (1.0, 1.0, 1.0)
    assert not reading.no_evidence


def test_all_fresh_failures_are_covered_and_score_nothing() -> None:
    reading = ready(all_of(FAIL))

    assert (reading.score, reading.coverage, reading.upper) == (0.0, 1.0, 0.0)
    assert (reading.hosts_failing, reading.worst_host) == (1, HOST)


@pytest.mark.parametrize("statements", [[], all_of(UNKNOWN), all_of(PASS, at=None)])
def test_without_evidence_there_is_no_score_and_it_says_so(statements: list[Statement]) -> None:
    for framework in range(3):
        reading = ready(statements, framework=framework)

        assert (reading.score, reading.coverage) == (0.0, 0.0)
        assert reading.no_evidence
        assert reading.evidenced == reading.supporting == 0
        assert {item.state for item in reading.items} == {UNKNOWN}


@pytest.mark.parametrize(
    ("statements", "hosts"),
    [([], {}), (all_of(EXEMPT), a_population()), (all_of(PASS), {})],
    ids=["nobody", "all exempt", "not enrolled"],
)
def test_an_empty_denominator_is_no_evidence(
    statements: list[Statement], hosts: dict[bytes, Host]
) -> None:
    reading = ready(statements, hosts)

    assert (reading.score, reading.coverage, reading.upper) == (0.0, 0.0, 0.0)
    assert reading.no_evidence


def test_the_formulas_by_hand() -> None:
    weights = {check.id: a_catalogue().checks[check.id].weight for check in CHECKS}
    passing, failing, exempt = CHECKS[0].id, CHECKS[1].id, CHECKS[2].id
    old = NOW - (2 * DAY + (7 - 2) * DAY // 2)
    statements = [
        a_statement(PASS, passing, at=old),
        a_statement(FAIL, failing),
        a_statement(EXEMPT, exempt),
    ]

    reading = ready(statements)

    whole = sum(weights.values()) - weights[exempt]
    silent = whole - weights[passing] - weights[failing]
    assert reading.score == pytest.approx(weights[passing] * 0.5 / whole)
    assert reading.coverage == pytest.approx((weights[passing] * 0.5 + weights[failing]) / whole)
    assert reading.upper == pytest.approx((weights[passing] + silent) / whole)


def test_a_host_that_is_silent_counts_in_the_denominator() -> None:
    alone = ready(all_of(PASS))
    beside = ready(all_of(PASS), a_population(HOST, OTHER))

    assert (alone.score, beside.score) == (1.0, 0.5)
    assert (beside.hosts, beside.hosts_reporting) == (2, 1)
    assert (beside.worst_host, beside.worst_score) == (OTHER, 0.0)


def test_a_host_that_matters_more_weighs_more() -> None:
    hosts = {HOST: Host(HOST, criticality=4), OTHER: Host(OTHER)}

    reading = ready([*all_of(PASS), *all_of(FAIL, OTHER)], hosts)

    assert reading.score == pytest.approx(0.8)


def test_no_item_is_ever_scored_whole() -> None:
    for framework in range(3):
        for item in ready(all_of(PASS), framework=framework).items:
            assert item.score <= item.coverage <= item.machine_share < 1


def mapped_to(reference: str, strength: Strength, framework: int = 2) -> list[str]:
    items = {item.requirement.id: item for item in SCHEMES[framework].items}
    return [one.check for one in items[reference].mapped if one.strength is strength]


def state_of(reference: str, statements: list[Statement]) -> CheckState:
    return {item.reference: item.state for item in ready(statements).items}[reference]


def test_an_item_passes_only_by_fresh_direct_passes_on_every_host() -> None:
    assert state_of("CC6.1", all_of(PASS)) is PASS
    for check in mapped_to("CC6.1", Strength.DIRECT):
        for state in (FAIL, UNKNOWN):
            statements = [*all_of(PASS), a_statement(state, check, order=2)]
            assert state_of("CC6.1", statements) is state
    silent = ready(all_of(PASS), a_population(HOST, OTHER))
    assert PASS not in {item.state for item in silent.items}


def test_partial_evidence_supports_and_does_not_satisfy() -> None:
    items = {item.reference: item for item in ready(all_of(PASS)).items}
    partial_only = [
        item.requirement.id
        for item in SCHEMES[2].items
        if item.mapped and all(one.strength is Strength.PARTIAL for one in item.mapped)
    ]

    assert "CC6.6" in partial_only
    for reference in partial_only:
        item = items[reference]
        assert (item.state, item.score) == (UNKNOWN, 0.0)
        assert item.coverage > 0
        assert item.supporting
        assert not item.evidenced


def test_a_partial_check_that_fails_blocks_the_pass_of_its_item() -> None:
    (check, *_) = mapped_to("CC6.1", Strength.PARTIAL)

    state = state_of("CC6.1", [*all_of(PASS), a_statement(FAIL, check, order=2)])

    assert state is UNKNOWN


def test_an_item_does_not_apply_only_when_all_its_checks_are_proven_not_to() -> None:
    exempt = {item.reference: item.state for item in ready(all_of(EXEMPT)).items}

    assert exempt["CC6.1"] is EXEMPT
    assert exempt["CC1.1"] is UNKNOWN
    assert state_of("CC6.1", all_of(EXEMPT, at=NOW - 8 * DAY)) is UNKNOWN


def test_the_headline_counts_what_was_seen_of_all_there_is() -> None:
    reading = ready(all_of(PASS))

    assert len(reading.items) == 61
    assert reading.evidenced == 3
    assert reading.supporting == 4


def test_a_check_that_is_not_mapped_changes_no_framework() -> None:
    pack = builtin_pack()
    stray = structs.replace(pack.checks[0], id="linux.stray.check")
    others = tuple(one for one in stray.mappings if one.framework != "soc2")
    widened = structs.replace(pack, checks=(*pack.checks, structs.replace(stray, mappings=others)))
    catalogue = build_catalogue(widened, builtin_frameworks())
    statements = [*all_of(PASS), a_statement(FAIL, stray.id)]

    reading = ready(statements, catalogue=catalogue)

    assert structs.replace(reading, mapping_digest=b"") == structs.replace(
        ready(all_of(PASS)), mapping_digest=b""
    )


def test_a_statement_about_a_check_nobody_knows_changes_nothing() -> None:
    assert ready([*all_of(PASS), a_statement(FAIL, "linux.no.such")]) == ready(all_of(PASS))


def test_as_time_goes_by_score_and_coverage_fall_to_nothing() -> None:
    statements = [*all_of(PASS), a_statement(FAIL, CHECKS[0].id, order=2)]

    readings = [ready(statements, as_of=NOW + days * DAY) for days in range(9)]

    scores = [reading.score for reading in readings]
    coverages = [reading.coverage for reading in readings]
    uppers = [reading.upper for reading in readings]
    assert scores == sorted(scores, reverse=True)
    assert coverages == sorted(coverages, reverse=True)
    assert uppers == sorted(uppers, reverse=True)
    assert (scores[-1], coverages[-1]) == (0.0, 0.0)
    assert scores[0] > 0.9
    assert readings[-1].hosts_failing == 1


@given(worlds)
def test_the_numbers_keep_their_order(world: list[Statement]) -> None:
    for framework in range(3):
        reading = ready(distinct(world), population(), framework=framework)

        assert 0 <= reading.score <= reading.coverage <= 1
        assert reading.score <= reading.upper <= 1
        assert reading.no_evidence == (reading.coverage == 0)
        for item in reading.items:
            assert 0 <= item.score <= item.coverage <= item.machine_share < 1
            assert item.state is not PASS or item.evidenced


@given(worlds, st.integers(0, 99))
def test_neither_order_nor_repetition_changes_a_score(world: list[Statement], seed: int) -> None:
    sent = distinct(world)
    arrived = [*sent, *sent[::2]]
    random.Random(seed).shuffle(arrived)

    assert ready(arrived, population()) == ready(sent, population())


def moved(world: list[Statement], source: CheckState, target: CheckState) -> tuple[float, float]:
    """The score before and after the newest word on some (host, check) is another."""
    base = [*distinct(world), a_statement(source, CHECKS[0].id, HOSTS[0], NOW, 50)]
    after = [*base, a_statement(target, CHECKS[0].id, HOSTS[0], NOW, 51)]
    return ready(base, population()).score, ready(after, population()).score


@given(worlds)
def test_mending_a_failure_never_lowers_the_score(world: list[Statement]) -> None:
    before, after = moved(world, FAIL, PASS)

    assert after >= before - EPSILON


@given(worlds, st.sampled_from([UNKNOWN, FAIL]))
def test_losing_a_pass_never_raises_the_score(world: list[Statement], to: CheckState) -> None:
    before, after = moved(world, PASS, to)

    assert after <= before + EPSILON


@given(worlds)
def test_an_exemption_without_proof_never_raises_the_score(world: list[Statement]) -> None:
    base = distinct(world)
    unproven = a_statement(EXEMPT, CHECKS[0].id, HOSTS[0], None, 60)
    before, after = ready(base, population()), ready([*base, unproven], population())

    assert after.score <= before.score + EPSILON
    assert after.upper <= before.upper + EPSILON
    assert after.hosts_failing == before.hosts_failing


@given(worlds, st.integers(0, 10 * DAY))
def test_time_never_raises_score_coverage_or_hope(world: list[Statement], wait: int) -> None:
    base = distinct(world)
    before, after = ready(base, population()), ready(base, population(), NOW + wait)

    assert after.score <= before.score + EPSILON
    assert after.coverage <= before.coverage + EPSILON
    assert after.upper <= before.upper + EPSILON
    assert after.hosts_failing == before.hosts_failing


@given(worlds, st.sampled_from(HOSTS))
def test_a_host_that_falls_silent_never_raises_the_score(
    world: list[Statement], silent: bytes
) -> None:
    base = distinct(world)
    left = [one for one in base if one.host != silent]
    before, after = ready(base, population()), ready(left, population())

    assert after.score <= before.score + EPSILON
    assert after.hosts == before.hosts


@given(worlds, st.sampled_from(HOSTS))
def test_quarantine_never_raises_the_score_or_hides_a_failure(
    world: list[Statement], host: bytes
) -> None:
    base = distinct(world)
    held = population() | {host: Host(host, trusted=False)}

    before, after = ready(base, population()), ready(base, held)

    assert after.score <= before.score + EPSILON
    assert after.hosts_failing == before.hosts_failing


def test_disabling_a_check_on_the_host_does_not_raise_the_score() -> None:
    statements = [one for one in all_of(PASS) if one.check != CHECKS[0].id]

    assert ready(statements).score < ready(all_of(PASS)).score


def a_large_catalogue(checks: int) -> Catalogue:
    pack = builtin_pack()
    many: list[CheckSpec] = [
        structs.replace(pack.checks[number % len(pack.checks)], id=f"linux.many.n{number}")
        for number in range(checks)
    ]
    return build_catalogue(structs.replace(pack, checks=tuple(many)), builtin_frameworks())


def test_a_large_tenant_is_scored_from_every_verdict() -> None:
    catalogue = a_large_catalogue(50)
    hosts = [number.to_bytes(16, "big") for number in range(60)]
    statements = [
        a_statement(FAIL if number == 7 else PASS, check, host)
        for number, host in enumerate(hosts)
        for check in catalogue.checks
    ]

    reading = ready(statements, a_population(*hosts), catalogue=catalogue)

    assert reading.score == pytest.approx(59 / 60)
    assert (reading.hosts_failing, reading.worst_host) == (1, hosts[7])
