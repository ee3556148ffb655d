import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.comply.standing import Host, Latest, Standing, Statement, freshness, gather, stand
from proto.model import CheckState
from tests.collector.builders import NOW
from tests.collector.comply.builders import (
    DAY,
    EXEMPT,
    FAIL,
    HOST,
    PASS,
    UNKNOWN,
    a_catalogue,
    a_statement,
)

RULE = next(iter(a_catalogue().checks.values()))
FULL, NONE = 2 * RULE.interval, RULE.max_age


def standing(*statements: Statement, as_of: int = NOW, trusted: bool = True) -> Standing:
    latest = gather(statements).get((HOST, statements[0].check)) if statements else None
    return stand(latest, RULE, Host(HOST, trusted=trusted), as_of)


def in_order(*states: CheckState) -> list[Statement]:
    return [a_statement(state, order=place) for place, state in enumerate(states)]


@pytest.mark.parametrize(
    ("age", "credit"),
    [
        (0, 1.0),
        (FULL, 1.0),
        ((FULL + NONE) // 2, 0.5),
        (NONE - 1, 0.0),
        (NONE, 0.0),
        (10 * NONE, 0.0),
        (-1, 0.0),
    ],
)
def test_freshness_is_whole_then_falls_in_a_line_to_nothing(age: int, credit: float) -> None:
    assert freshness(RULE, age) == pytest.approx(credit, abs=1e-9)


@given(st.integers(0, 2 * NONE), st.integers(0, 2 * NONE))
def test_older_is_never_fresher(one: int, two: int) -> None:
    young, old = sorted((one, two))

    assert 0 <= freshness(RULE, old) <= freshness(RULE, young) <= 1


def test_a_host_that_said_nothing_is_unknown() -> None:
    found = standing()

    assert (found.state, found.reason, found.credit) == (UNKNOWN, "unreported", 0.0)


@pytest.mark.parametrize("state", [PASS, FAIL])
def test_a_fresh_verdict_counts_whole(state: CheckState) -> None:
    found = standing(a_statement(state))

    assert (found.state, found.credit) == (state, 1.0)


def test_a_pass_without_its_evidence_is_unproven() -> None:
    assert standing(a_statement(PASS, at=None)).reason == "unproven"


def test_an_exemption_without_its_evidence_is_none() -> None:
    found = standing(a_statement(EXEMPT, at=None))

    assert (found.state, found.reason, found.hope) == (UNKNOWN, "unproven", False)


@pytest.mark.parametrize("state", [PASS, EXEMPT])
def test_what_is_too_old_is_unknown(state: CheckState) -> None:
    found = standing(a_statement(state), as_of=NOW + NONE)

    assert (found.state, found.reason) == (UNKNOWN, "stale")


def test_a_failure_stays_one_however_old() -> None:
    found = standing(a_statement(FAIL, reason="mode is 0666"), as_of=NOW + 1000 * DAY)

    assert (found.state, found.reason, found.credit) == (FAIL, "stale: mode is 0666", 0.0)


def test_evidence_from_the_future_counts_for_nothing() -> None:
    assert standing(a_statement(PASS, at=NOW + 1)).reason == "future"
    assert standing(a_statement(FAIL, at=NOW + 1)).credit == 0.0


@pytest.mark.parametrize("state", [PASS, EXEMPT])
def test_a_host_in_quarantine_neither_passes_nor_is_exempt(state: CheckState) -> None:
    found = standing(a_statement(state), trusted=False)

    assert (found.state, found.reason) == (UNKNOWN, "untrusted")


def test_a_host_in_quarantine_still_fails() -> None:
    assert standing(a_statement(FAIL), trusted=False).state is FAIL


@pytest.mark.parametrize(
    ("states", "now"),
    [
        ((PASS, FAIL), FAIL),
        ((FAIL, PASS), PASS),
        ((PASS, UNKNOWN), UNKNOWN),
        ((UNKNOWN, PASS), PASS),
        ((FAIL, UNKNOWN), FAIL),
        ((FAIL, UNKNOWN, UNKNOWN), FAIL),
        ((FAIL, UNKNOWN, PASS), PASS),
        ((FAIL, PASS, UNKNOWN), UNKNOWN),
        ((EXEMPT, UNKNOWN), UNKNOWN),
        ((PASS, EXEMPT), EXEMPT),
    ],
)
def test_a_failure_is_gone_only_when_it_is_seen_to_be(
    states: tuple[CheckState, ...], now: CheckState
) -> None:
    assert standing(*in_order(*states)).state is now


@pytest.mark.parametrize("state", [PASS, EXEMPT])
@pytest.mark.parametrize(("at", "word"), [(None, "unproven"), (NOW + 1, "future")])
def test_without_proof_nothing_clears_a_failure(
    state: CheckState, at: int | None, word: str
) -> None:
    found = standing(a_statement(FAIL, order=1), a_statement(state, at=at, order=2))

    assert found.state is FAIL
    assert word in found.reason


def test_a_failure_once_mended_does_not_come_back_with_age_or_quarantine() -> None:
    statements = [a_statement(FAIL, order=1), a_statement(PASS, order=2)]

    assert standing(*statements, as_of=NOW + NONE).reason == "stale"
    assert standing(*statements, trusted=False).reason == "untrusted"


def test_a_failure_out_of_sight_says_since_why() -> None:
    seen = a_statement(FAIL, order=1, reason="mode is 0666")
    unseen = a_statement(UNKNOWN, order=2, reason="denied")

    assert standing(seen, unseen).reason == "not seen since (denied): mode is 0666"


@pytest.mark.parametrize(("before", "hope"), [(PASS, True), (EXEMPT, False)])
def test_only_what_could_still_pass_raises_hope(before: CheckState, *, hope: bool) -> None:
    assert standing(*in_order(before, UNKNOWN)).hope is hope


STATES = st.sampled_from([PASS, FAIL, UNKNOWN, EXEMPT])


@given(st.lists(STATES, min_size=1, max_size=8), st.data())
def test_neither_order_nor_repetition_of_arrival_matters(
    states: list[CheckState], data: st.DataObject
) -> None:
    sent = in_order(*states)
    arrived = data.draw(st.permutations(sent + sent[: len(sent) // 2]))

    assert standing(*arrived) == standing(*sent)


@given(STATES, st.integers(0, 3 * NONE), st.integers(0, 3 * NONE))
def test_time_alone_never_improves_a_standing(state: CheckState, one: int, two: int) -> None:
    soon, late = sorted((one, two))

    before = standing(a_statement(state), as_of=NOW + soon)
    after = standing(a_statement(state), as_of=NOW + late)

    assert after.credit <= before.credit
    assert after.state in {before.state, UNKNOWN}


def test_a_statement_of_no_state_is_unknown() -> None:
    latest = Latest()
    latest.take(a_statement(CheckState.UNSPECIFIED))

    assert stand(latest, RULE, Host(HOST), NOW).state is UNKNOWN
