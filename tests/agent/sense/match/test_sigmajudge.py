import pytest

from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmajudge import Judges, Look, leaf
from agent.sense.match.sigmanormal import Leaf, normal
from proto.content.rules import Operator, Predicate, Value
from tests.proto.content.rulebuilders import every, none, some


def look(**fields: FieldValue) -> Look:
    return Look(SigmaEvent((), fields))


def holds(op: Operator, *values: Value, field: str | None = "A", **fields: FieldValue) -> bool:
    return leaf(Predicate(field, op, values))(look(**fields))


def test_a_list_holds_what_any_of_its_values_does() -> None:
    assert holds(Operator.EQUALS, "x", A=["y", "X"])
    assert not holds(Operator.EQUALS, "x", A=[])
    assert holds(Operator.EQUALS, "4688", A=4688)


def test_presence_is_having_the_field_and_null_is_having_nothing_in_it() -> None:
    assert holds(Operator.EXISTS, A=None)
    assert not holds(Operator.EXISTS, B="x")
    assert holds(Operator.NULL, A=None)
    assert holds(Operator.NULL, B="x")
    assert holds(Operator.NULL, A=[])
    assert not holds(Operator.NULL, A="")


@pytest.mark.parametrize(
    ("op", "value", "other", "is_so"),
    [
        (Operator.FIELD_EQUALS, "Same", "sAME", True),
        (Operator.FIELD_STARTSWITH, "same and more", "Same", True),
        (Operator.FIELD_ENDSWITH, "not same", "same", True),
        (Operator.FIELD_CONTAINS, "a same b", "SAME", True),
        (Operator.FIELD_EQUALS, "a", "b", False),
        (Operator.FIELD_EQUALS, "a", None, False),
    ],
)
def test_a_field_is_compared_with_another(
    op: Operator, value: str, other: str | None, is_so: bool
) -> None:
    assert holds(op, "B", A=value, B=other) is is_so


def test_a_word_is_sought_in_every_value() -> None:
    assert holds(Operator.CONTAINS, "word", field=None, X=1, Y=["a", "some WORDS"])
    assert not holds(Operator.CONTAINS, "ab", field=None, X="a", Y="b")


def test_a_condition_is_judged_as_it_is_written() -> None:
    predicates = [
        Predicate("A", Operator.REGEX, ("a+",), cased=True),
        Predicate("B", Operator.CONTAINS, ("b",)),
        Predicate("C", Operator.EQUALS, ("c",)),
    ]
    node = normal(some(every(0, 1, none(2)), every(2, none(0))), lambda _: True)
    assert node is not None
    judge = Judges(predicates).judge(node)

    assert judge(look(A="aa", B="b"))
    assert not judge(look(A="aa", B="b", C="c"))
    assert judge(look(C="c"))
    assert Judges(predicates).holds(Leaf(1, negated=True), look(B="abc"))
