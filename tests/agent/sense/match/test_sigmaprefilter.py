import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match import sigmaprefilter
from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmaprefilter import (
    REMEMBERED_MAX,
    Prefilter,
    all_texts,
    texts_of,
)
from agent.sense.match.sigmawitness import Clause, Sought


def a_clause(*sought: tuple[str, str, str]) -> Clause:
    return frozenset(Sought(*one) for one in sought)


RULES = [
    [a_clause(("Image", "ew", "/sh"))],
    [a_clause(("Image", "sw", "/tmp/")), a_clause(("User", "eq", "root"))],
    [a_clause(("", "in", "canary"))],
    [],
    [a_clause(("Image", "in", "py"), ("User", "eq", "ann"))],
]
PREFILTER = Prefilter(RULES)


def candidates(fields: dict[str, FieldValue]) -> set[int]:
    found = PREFILTER.candidates(SigmaEvent((), fields))
    return {at for at in range(len(RULES)) if found >> at & 1}


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({}, {3}),
        ({"Image": "/bin/SH"}, {0, 3}),
        ({"Image": "/sh/x"}, {3}),
        ({"Image": "/tmp/x"}, {3}),
        ({"Image": "/tmp/x", "User": "ROOT"}, {1, 3}),
        ({"Image": "/tmp/x", "User": "rooted"}, {3}),
        ({"Image": "a canary"}, {2, 3}),
        ({"Elsewhere": "a CANARY"}, {2, 3}),
        ({"Elsewhere": ["x", 5, None, "canary"]}, {2, 3}),
        ({"User": ["x", "ann"]}, {3, 4}),
        ({"Image": None, "User": None}, {3}),
        ({"User": 5, "Image": True}, {3}),
    ],
)
def test_a_rule_is_a_candidate_when_every_clause_of_it_was_seen(
    fields: dict[str, FieldValue], rules: set[int]
) -> None:
    # Twice: the second time from memory.
    assert candidates(fields) == rules
    assert candidates(fields) == rules


def test_a_number_and_a_truth_are_not_taken_for_each_other() -> None:
    assert texts_of(True) == ("true",)
    assert texts_of(1) == ("1",)
    assert all_texts({"a": [1, None, "x"], "b": None}) == ["1", "x"]


@given(st.text(max_size=40), st.text(max_size=10))
def test_a_literal_is_found_wherever_it_stands(before: str, after: str) -> None:
    assert candidates({"Image": f"{before}PY{after}"}) >= {4}


def test_what_is_remembered_is_bounded() -> None:
    prefilter = Prefilter(RULES)

    for at in range(3 * REMEMBERED_MAX):
        prefilter.candidates(SigmaEvent((), {"Image": f"/bin/{at}", "Other": str(at)}))

    assert REMEMBERED_MAX <= prefilter.remembered <= 2 * REMEMBERED_MAX


def test_words_are_found_alike_where_fields_are_too_many_to_search_both_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sigmaprefilter, "_ALONG_MAX", 0)
    apart = Prefilter(RULES)

    for fields in ({"Image": "a canary"}, {"Elsewhere": "canary"}, {"Image": "/bin/sh"}, {}):
        event = SigmaEvent((), fields)
        assert apart.candidates(event) == PREFILTER.candidates(event)
