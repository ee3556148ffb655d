import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.sigmanormal import normal
from agent.sense.match.sigmawitness import (
    CLAUSES_MAX,
    LITERAL_CHARS_MAX,
    Clause,
    Sought,
    chosen,
    clauses,
    literal_of,
    worth,
)
from proto.content.rules import Operator, Predicate, TimePart, Tree
from tests.proto.content.rulebuilders import every, none, some

PREDICATES = [
    Predicate("Image", Operator.ENDSWITH, ("/Curl", "/wget")),
    Predicate("CommandLine", Operator.CONTAINS, ("--upload-file",)),
    Predicate("User", Operator.EQUALS, ("root",)),
    Predicate("Port", Operator.GT, (5,)),
    Predicate("Image", Operator.WILDCARD, ("*a*longest*",)),
    Predicate(None, Operator.CONTAINS, ("word",)),
    Predicate("Image", Operator.CONTAINS, ("",)),
    Predicate("Time", Operator.EQUALS, (3,), part=TimePart.HOUR),
    Predicate("Image", Operator.CONTAINS, ("x" * 100,)),
    Predicate("Image", Operator.ENDSWITH, ("y" + "x" * 100,)),
]


def found(tree: Tree) -> list[Clause]:
    node = normal(tree, lambda _: True)
    assert node is not None
    return clauses(node, PREDICATES)


def sought(place: int) -> Sought:
    ((one,),) = found(place)
    return one


def test_a_clause_has_every_literal_one_of_which_must_be_there() -> None:
    assert found(0) == [frozenset({Sought("Image", "ew", "/curl"), Sought("Image", "ew", "/wget")})]
    assert found(every(1, 2)) == [*found(1), *found(2)]
    assert found(some(1, 2)) == [found(1)[0] | found(2)[0]]


@pytest.mark.parametrize("tree", [3, 6, 7, none(1), some(1, 3), some(1, none(2))])
def test_what_can_hold_without_a_literal_has_no_clause(tree: Tree) -> None:
    assert found(tree) == []


def test_the_longest_part_of_a_pattern_speaks_for_it() -> None:
    assert sought(4) == Sought("Image", "in", "longest")
    assert sought(5) == Sought("", "in", "word")


def test_of_a_long_literal_the_end_that_it_is_tied_to_is_searched() -> None:
    assert len(sought(8).text) == len(sought(9).text) == LITERAL_CHARS_MAX
    assert "y" not in sought(9).text


def test_the_most_telling_clauses_are_chosen() -> None:
    many = every(0, 1, 2, 4, 5)

    best = chosen(found(many))

    assert len(best) == CLAUSES_MAX
    assert best[0] == found(1)[0]
    assert worth(best[0]) >= worth(best[1]) >= worth(best[2])


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("abc", "abc"),
        ("abc.*defg", "defg"),
        (r"a\.b", "a.b"),
        (r"\babc\d+", "abc"),
        ("abc|def", ""),
        ("(abc|def)gh", "gh"),
        ("abcd?", "abc"),
        ("ab+cde", "cde"),
        ("abc{2,3}d", "ab"),
        ("x{y|z}", ""),
        ("[abc]def[]x]gh", "def"),
        ("[^]x]gh[[:alpha:]]i", "gh"),
        (r"\x41bcd", ""),
        (r"\Qa|b\E", ""),
        ("(?i)WGet", "WGet"),
        ("^$", ""),
        ("(unclosed", ""),
        ("abc\\", ""),
    ],
)
def test_the_literal_of_an_expression_is_one_that_every_match_holds(
    pattern: str, literal: str
) -> None:
    assert literal_of(pattern) == literal


ATOMS = st.sampled_from(["a", "b", "\\.", "x", "[ab]", "(ab)", "(a|b)", ".", "\\d", "(?:xy)", "|"])
REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,1}", "+?"])


@given(st.lists(st.tuples(ATOMS, REPEATS), max_size=8), st.text("abxy.|1", max_size=12))
def test_no_match_is_without_the_literal(parts: list[tuple[str, str]], text: str) -> None:
    pattern = "".join(atom + (repeat if atom != "|" else "") for atom, repeat in parts)

    if re.search(pattern, text):
        assert literal_of(pattern) in text
