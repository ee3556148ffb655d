import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, json

from agent.sense.posture.expect import (
    WHY_CHARS_MAX,
    FactMisfit,
    Truth,
    evaluate,
    fact_at,
    why_not,
)
from proto.content.checks import Expect

FACTS = {
    "mode": "0640",
    "uid": 0,
    "live": {"options": ["nodev", "rw"], "count": 3},
    "none": None,
    "on": True,
}


def an_expect(text: str) -> Expect:
    return json.decode(text, type=Expect)


def a_leaf(op: str, of: str, value: object = None) -> Expect:
    node = {"op": op, "of": of} | ({} if value is None else {"value": value})
    return an_expect(json.encode(node).decode())


def a_branch(op: str, *args: Expect) -> Expect:
    return an_expect(json.encode({"op": op, "args": args}).decode())


TRUE = a_leaf("eq", "uid", 0)
FALSE = a_leaf("eq", "uid", 1)
MISSING = a_leaf("eq", "none", 1)


@pytest.mark.parametrize(
    ("op", "of", "value", "truth"),
    [
        ("eq", "on", True, Truth.TRUE),
        ("ne", "uid", 1, Truth.TRUE),
        ("ne", "uid", 0, Truth.FALSE),
        ("lt", "live.count", 4, Truth.TRUE),
        ("le", "live.count", 3, Truth.TRUE),
        ("gt", "live.count", 3, Truth.FALSE),
        ("ge", "live.count", 3, Truth.TRUE),
        ("in", "mode", ["0640", "0600"], Truth.TRUE),
        ("in", "mode", ["0600"], Truth.FALSE),
        ("subset", "live.options", ["nodev", "nosuid", "rw"], Truth.TRUE),
        ("subset", "live.options", ["rw"], Truth.FALSE),
        ("superset", "live.options", ["nodev"], Truth.TRUE),
        ("superset", "live.options", ["nodev", "nosuid"], Truth.FALSE),
        ("mode_at_most", "mode", "0640", Truth.TRUE),
        ("mode_at_most", "mode", "0600", Truth.FALSE),
        ("present", "uid", None, Truth.TRUE),
        ("present", "none", None, Truth.FALSE),
        ("absent", "none", None, Truth.TRUE),
        ("absent", "uid", None, Truth.FALSE),
    ],
)
def test_a_leaf_compares_one_fact(op: str, of: str, value: object, truth: Truth) -> None:
    assert evaluate(a_leaf(op, of, value), FACTS) is truth


@pytest.mark.parametrize("op", ["eq", "ne", "in", "superset", "mode_at_most", "ge"])
@pytest.mark.parametrize("of", ["none", "none.below", "nowhere", "uid.below"])
def test_a_fact_that_is_not_there_is_neither_as_expected_nor_not(op: str, of: str) -> None:
    value = {"eq": 1, "ne": 1, "ge": 1, "mode_at_most": "0777"}.get(op, ["x"])

    truth = evaluate(a_leaf(op, of, value), FACTS)

    assert truth is Truth.MISSING


def test_only_a_null_fact_counts_as_absent_and_an_unknown_path_says_nothing() -> None:
    assert evaluate(a_leaf("absent", "nowhere"), FACTS) is Truth.MISSING
    assert evaluate(a_leaf("present", "nowhere"), FACTS) is Truth.MISSING
    assert fact_at(FACTS, "nowhere") is UNSET
    assert fact_at(FACTS, "none.below") is None


@pytest.mark.parametrize(
    ("op", "args", "truth"),
    [
        ("all", (TRUE, TRUE), Truth.TRUE),
        ("all", (TRUE, MISSING), Truth.MISSING),
        ("all", (MISSING, FALSE), Truth.FALSE),
        ("any", (FALSE, TRUE), Truth.TRUE),
        ("any", (MISSING, TRUE), Truth.TRUE),
        ("any", (FALSE, MISSING), Truth.MISSING),
        ("any", (FALSE, FALSE), Truth.FALSE),
        ("none_of", (FALSE, FALSE), Truth.TRUE),
        ("none_of", (FALSE, MISSING), Truth.MISSING),
        ("none_of", (MISSING, TRUE), Truth.FALSE),
        ("not", (FALSE,), Truth.TRUE),
        ("not", (TRUE,), Truth.FALSE),
        ("not", (MISSING,), Truth.MISSING),
    ],
)
def test_a_branch_is_decided_only_by_what_is_known(
    op: str, args: tuple[Expect, ...], truth: Truth
) -> None:
    assert evaluate(a_branch(op, *args), FACTS) is truth


@pytest.mark.parametrize(
    ("op", "of", "value"),
    [
        ("eq", "uid", "0"),
        ("eq", "on", 1),
        ("eq", "uid", False),
        ("ge", "mode", 1),
        ("ge", "on", 1),
        ("in", "uid", ["0"]),
        ("subset", "mode", ["0"]),
        ("mode_at_most", "uid", "0777"),
        ("mode_at_most", "live.options", "0777"),
    ],
)
def test_a_fact_of_another_type_is_refused_and_not_compared(
    op: str, of: str, value: object
) -> None:
    with pytest.raises(FactMisfit):
        evaluate(a_leaf(op, of, value), FACTS)


@pytest.mark.parametrize("mode", ["rw-r-----", "", "07777", "8"])
def test_a_mode_that_is_not_octal_is_refused(mode: str) -> None:
    with pytest.raises(FactMisfit):
        evaluate(a_leaf("mode_at_most", "mode", "0777"), {"mode": mode})


def test_the_reason_names_the_first_part_that_is_not_met() -> None:
    expect = a_branch("all", TRUE, a_leaf("superset", "live.options", ["nosuid"]), FALSE)

    reason = why_not(expect, FACTS)

    assert reason == "live.options is [nodev, rw], wanted superset [nosuid]"


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        (a_branch("any", FALSE, FALSE), "uid is 0, wanted eq 1 and uid is 0, wanted eq 1"),
        (a_branch("none_of", FALSE, TRUE), "uid is 0, wanted not eq 0"),
        (a_branch("not", a_branch("all", TRUE, TRUE)), "wanted not eq 0 and uid is 0, wanted not"),
        (a_branch("not", a_branch("not", FALSE)), "uid is 0, wanted eq 1"),
        (MISSING, "none is not there, wanted eq 1"),
    ],
)
def test_the_reason_follows_negations(expect: Expect, reason: str) -> None:
    assert reason in why_not(expect, FACTS)


def test_host_text_in_a_reason_is_cut_and_made_printable() -> None:
    facts = {"name": "x\n\x1b[31m" + "y" * 4000}

    reason = why_not(a_leaf("eq", "name", "z"), facts)

    assert len(reason) <= WHY_CHARS_MAX
    assert reason.isprintable()


def _nodes() -> st.SearchStrategy[Expect]:
    leaves = st.sampled_from([TRUE, FALSE, MISSING, a_leaf("absent", "none")])
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(a_branch, st.sampled_from(["all", "any", "none_of"]), inner, inner)
            | st.builds(a_branch, st.just("not"), inner)
        ),
        max_leaves=8,
    )


@given(_nodes())
def test_what_is_not_met_always_has_a_reason(expect: Expect) -> None:
    truth = evaluate(expect, FACTS)

    assert truth is Truth.TRUE or why_not(expect, FACTS)


@given(_nodes())
def test_a_fact_that_goes_missing_never_makes_a_negation_of_it_true(expect: Expect) -> None:
    # Kleene's order: taking facts away moves a verdict to MISSING or leaves it, never flips it.
    seen = evaluate(expect, FACTS | {"none": 1})
    unseen = evaluate(expect, FACTS)

    if "absent" not in repr(expect).lower():
        assert unseen in {seen, Truth.MISSING}
