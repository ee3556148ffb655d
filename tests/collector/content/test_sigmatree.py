import pytest

from collector.content.errors import RuleRefused
from collector.content.sigmatree import Predicates, tree_of
from proto.content.rules import Junction, Operator, Predicate, TimePart, Tree
from tests.collector.content.rulesources import a_rule, compiled


def asked(lines: str, condition: str = "sel", **placeholders: list[str]) -> list[Predicate]:
    made = compiled(a_rule(f"  sel:\n{lines}", condition), **placeholders)
    assert made.reports == ()
    return list(made.rules.predicates)


def tree(lines: str, condition: str) -> Tree:
    return compiled(a_rule(lines, condition)).rules.rules[0].condition


@pytest.mark.parametrize(
    ("line", "predicate"),
    [
        ("Image: a", Predicate("Image", Operator.EQUALS, ("a",))),
        ("Image: [a, b]", Predicate("Image", Operator.EQUALS, ("a", "b"))),
        ("Image: ''", Predicate("Image", Operator.EQUALS, ("",))),
        ("Image: 'a*'", Predicate("Image", Operator.STARTSWITH, ("a",))),
        ("Image: '*a'", Predicate("Image", Operator.ENDSWITH, ("a",))),
        ("Image: '*'", Predicate("Image", Operator.WILDCARD, ("*",))),
        ("Image: 'a*b?'", Predicate("Image", Operator.WILDCARD, ("a*b?",))),
        ("Image: 'a\\*b'", Predicate("Image", Operator.EQUALS, ("a*b",))),
        ("Image|contains: a", Predicate("Image", Operator.CONTAINS, ("a",))),
        ("Image|contains: 'a*b'", Predicate("Image", Operator.WILDCARD, ("*a*b*",))),
        ("Image|cased: A", Predicate("Image", Operator.EQUALS, ("A",), cased=True)),
        ("Image|re: a.b", Predicate("Image", Operator.REGEX, ("a.b",), cased=True)),
        ("Image|re|i|s: a.b", Predicate("Image", Operator.REGEX, ("(?is)a.b",), cased=True)),
        (
            "Image|re|startswith: a|b",
            Predicate("Image", Operator.REGEX, ("^(?:(?:a|b).*)",), cased=True),
        ),
        ("Port: 22", Predicate("Port", Operator.EQUALS, ("22",))),
        ("Port|gt: 22", Predicate("Port", Operator.GT, (22,))),
        ("Port|lte: 2.5", Predicate("Port", Operator.LTE, (2.5,))),
        ("Is: true", Predicate("Is", Operator.EQUALS, ("true",))),
        ("Image: null", Predicate("Image", Operator.NULL)),
        ("Image|exists: true", Predicate("Image", Operator.EXISTS)),
        ("Ip|cidr: 10.0.0.0/8", Predicate("Ip", Operator.CIDR, ("10.0.0.0/8",))),
        ("A|fieldref: B", Predicate("A", Operator.FIELD_EQUALS, ("B",))),
        ("A|fieldref|contains: B", Predicate("A", Operator.FIELD_CONTAINS, ("B",))),
        ("T|hour: 3", Predicate("T", Operator.EQUALS, (3,), part=TimePart.HOUR)),
        ("T|year|lt: 2020", Predicate("T", Operator.LT, (2020,), part=TimePart.YEAR)),
        ("'|re': a", Predicate(None, Operator.REGEX, ("a",), cased=True)),
    ],
)
def test_a_line_of_a_detection_is_one_predicate(line: str, predicate: Predicate) -> None:
    assert asked(f"    {line}") == [predicate]


@pytest.mark.parametrize(
    ("value", "predicate"),
    [
        ("word", Predicate(None, Operator.CONTAINS, ("word",))),
        ("'*word*'", Predicate(None, Operator.CONTAINS, ("word",))),
        ("'a*b'", Predicate(None, Operator.WILDCARD, ("*a*b*",))),
        ("5", Predicate(None, Operator.CONTAINS, ("5",))),
    ],
)
def test_a_word_alone_is_sought_in_every_field(value: str, predicate: Predicate) -> None:
    assert asked(f"    - {value}") == [predicate]


def test_modifiers_that_change_the_value_have_been_applied() -> None:
    (predicate,) = asked("    A|base64offset|contains: foobar")
    assert predicate.values == ("Zm9vYmFy", "Zvb2Jhc", "mb29iYX")

    (predicate,) = asked("    A|wide: ab")
    assert predicate.values == ("a\0b\0",)

    (predicate,) = asked("    A|windash|contains: ' -x '")
    assert len(predicate.values) == 5
    assert " /x " in predicate.values


def test_placeholders_stand_for_the_values_that_are_given() -> None:
    (predicate,) = asked("    User|expand: 'x-%admins%'", admins=["ann", "bob"])

    assert predicate == Predicate("User", Operator.EQUALS, ("x-ann", "x-bob"))


def test_all_is_a_branch_and_any_a_predicate_of_several_values() -> None:
    found = tree("  sel:\n    A|contains|all: [x, y]\n    B: [p, q]", "sel")

    assert not isinstance(found, int)
    assert found.op is Junction.ALL
    assert found.args == (0, 1, 2)


def test_what_is_not_there_is_the_contrary_of_what_is() -> None:
    found = tree("  sel:\n    A|exists: false", "not not sel")

    assert not isinstance(found, int)
    assert (found.op, found.args) == (Junction.NOT, (0,))


def test_a_condition_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RuleRefused):
        tree_of(None, Predicates())


def test_a_predicate_has_one_place() -> None:
    predicates = Predicates()
    asked = Predicate("Image", Operator.NULL)

    assert [predicates.place(asked), predicates.place(asked)] == [0, 0]
    assert predicates.all() == (asked,)
