import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agent.sense.posture.judge import judge, reading_of, rejudge
from agent.sense.posture.probing import PROBES, ask, questions
from agent.sense.posture.reader import HostReader
from proto.content.checks import (
    CheckSpec,
    Fallback,
    Fixture,
    UnknownReason,
    builtin_pack,
    evidence_digest,
)
from proto.errors import Malformed
from proto.model import CheckState, Evidence
from tests.agent.sense.posture.builders import a_check, a_good_host, a_reading
from tests.fakes.clock import FakeClock

PACK = builtin_pack()
FALLBACK = {Fallback.FAIL: CheckState.FAIL, Fallback.UNKNOWN: CheckState.UNKNOWN}
by_id = pytest.mark.parametrize("check", PACK.checks, ids=lambda check: check.id)


def by_fixture(check: CheckSpec, fixture: Fixture, *, applies: bool = True) -> CheckState:
    reading = a_reading(fixture.facts, fixture.unknown.value if fixture.unknown else "")
    predicate = check.predicate
    if predicate is None:
        return judge(check, {check.request: reading}).state
    if predicate == check.request:
        return judge(check, {check.request: reading}).state
    assert check.fixtures.exempt is not None
    installed = {**(check.fixtures.exempt.facts or {}), "installed": True}
    proof = a_reading(installed) if applies else a_reading(check.fixtures.exempt.facts)
    return judge(check, {check.request: reading, predicate: proof}).state


@by_id
def test_a_check_gives_its_fixtures_the_verdicts_they_are_named_for(check: CheckSpec) -> None:
    fixtures = check.fixtures

    assert by_fixture(check, fixtures.passing) is CheckState.PASS
    assert by_fixture(check, fixtures.fail) is CheckState.FAIL
    assert by_fixture(check, fixtures.missing) in {CheckState.FAIL, CheckState.UNKNOWN}
    assert by_fixture(check, fixtures.unreadable) is FALLBACK[check.on_error]
    if fixtures.exempt is not None:
        exempt = by_fixture(check, fixtures.exempt, applies=False)
        assert exempt is CheckState.NOT_APPLICABLE


@by_id
def test_a_fixture_holds_facts_that_its_probe_could_state(check: CheckSpec) -> None:
    shape = PROBES[check.probe].facts
    fixtures = [check.fixtures.passing, check.fixtures.fail, check.fixtures.missing]

    for fixture in fixtures:
        if fixture.facts is not None:
            assert set(fixture.facts) <= {field.name for field in structs.fields(shape)}


@by_id
@pytest.mark.parametrize("reason", list(UnknownReason), ids=lambda reason: reason.value)
def test_a_probe_that_could_not_look_never_gives_a_pass_or_an_exemption(
    check: CheckSpec, reason: UnknownReason
) -> None:
    blind = a_reading(unknown=reason.value)
    readings = dict.fromkeys(filter(None, (check.request, check.predicate)), blind)

    verdict = judge(check, readings)

    assert verdict.state in {CheckState.UNKNOWN, FALLBACK[check.on_error]}
    assert reason.value in verdict.reason


@by_id
def test_a_question_nobody_asked_is_unknown_whatever_on_error_says(check: CheckSpec) -> None:
    verdict = judge(structs.replace(check, on_error=Fallback.FAIL), {})

    assert verdict.state is CheckState.UNKNOWN
    assert verdict.reason == "probe_missing"
    assert verdict.evidence == ()


@by_id
def test_facts_that_are_all_null_never_pass(check: CheckSpec) -> None:
    shape = PROBES[check.probe].facts
    facts: dict[str, object] = {field.name: None for field in structs.fields(shape)}

    state = by_fixture(check, Fixture(facts=facts))

    assert state in {CheckState.FAIL, CheckState.UNKNOWN}


def test_on_error_fail_is_obeyed() -> None:
    check = a_check(on_error=Fallback.FAIL)

    verdict = judge(check, {check.request: a_reading(unknown="denied")})

    assert (verdict.state, verdict.reason) == (CheckState.FAIL, "denied")


@pytest.mark.parametrize("on_missing", list(Fallback))
def test_on_missing_is_obeyed(on_missing: Fallback) -> None:
    check = a_check("linux.sysctl.address_space_random", on_missing=on_missing)
    facts = {"live": None, "persisted": None, "origin": None}

    verdict = judge(check, {check.request: a_reading(facts)})

    assert verdict.state is FALLBACK[on_missing]
    assert verdict.reason.startswith("missing: live is not there")


def test_facts_of_the_wrong_type_are_unknown() -> None:
    check = a_check("linux.sysctl.address_space_random")
    facts = {"live": "two", "persisted": None, "origin": None}

    verdict = judge(check, {check.request: a_reading(facts)})

    assert verdict.state is CheckState.UNKNOWN
    assert verdict.reason.startswith("parse: ")


def test_an_exemption_carries_the_evidence_that_proves_it() -> None:
    check = a_check("linux.sshd.keys_only")
    assert check.predicate is not None
    proof = a_reading({"installed": False})

    verdict = judge(check, {check.predicate: proof})

    assert verdict.state is CheckState.NOT_APPLICABLE
    assert verdict.evidence == (proof.digest,)
    assert "installed is False" in verdict.reason


@pytest.mark.parametrize(
    "proof", [a_reading(unknown="denied"), a_reading({"installed": None}), a_reading({})]
)
def test_without_proof_that_it_does_not_apply_a_check_is_unknown(proof: object) -> None:
    check = a_check("linux.sshd.keys_only")

    verdict = judge(check, {check.predicate: proof})  # type: ignore[dict-item]

    assert verdict.state is CheckState.UNKNOWN
    assert "whether it applies" in verdict.reason


def evidence_of_a_good_host() -> list[Evidence]:
    reader = HostReader(a_good_host(), FakeClock())
    return [ask(request, reader, FakeClock())[0] for request in questions(PACK.checks)]


def test_verdicts_can_be_judged_again_from_the_evidence_alone() -> None:
    evidence = evidence_of_a_good_host()

    verdicts = rejudge(reversed(evidence), PACK.checks)

    assert [verdict.check for verdict in verdicts] == [check.id for check in PACK.checks]
    assert {verdict.state for verdict in verdicts} == {CheckState.PASS}


def test_of_two_answers_to_one_question_the_later_counts() -> None:
    check = a_check()
    good = next(piece for piece in evidence_of_a_good_host() if "/etc/passwd" in piece.parameters)
    facts = good.facts.replace(b'"0644"', b'"0666"')
    digest = evidence_digest(check.request, good.version, "", facts)
    later = structs.replace(good, collected_at=good.collected_at + 1, facts=facts, digest=digest)

    verdicts = [rejudge(order, [check])[0].state for order in ([good, later], [later, good])]

    assert verdicts == [CheckState.FAIL, CheckState.FAIL]


@given(st.sampled_from(["facts", "parameters", "unknown", "version", "probe", "digest"]))
def test_evidence_that_was_touched_is_refused(field: str) -> None:
    piece = evidence_of_a_good_host()[0]
    value = getattr(piece, field)
    changed = value + b" " if isinstance(value, bytes) else value + " "
    touched = structs.replace(piece, **{field: changed[-32:] if field == "digest" else changed})

    with pytest.raises(Malformed):
        reading_of(touched)


@given(st.binary(max_size=64))
def test_any_facts_give_a_reading_or_our_error(facts: bytes) -> None:
    check = a_check()
    digest = evidence_digest(check.request, "1", "", facts)
    piece = Evidence("file", "1", check.request.parameters, 1, 1, "", facts, digest)

    try:
        verdict = rejudge([piece], [check])[0]
    except Malformed:
        return

    assert verdict.state is not CheckState.PASS


def test_evidence_of_not_seeing_judges_as_it_did_on_the_host() -> None:
    check = a_check()
    digest = evidence_digest(check.request, "1", "denied", b"")
    piece = Evidence("file", "1", check.request.parameters, 1, 1, "denied", b"", digest)

    (verdict,) = rejudge([piece], [check])

    assert (verdict.state, verdict.reason) == (CheckState.UNKNOWN, "denied")
