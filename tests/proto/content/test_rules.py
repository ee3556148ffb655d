import pytest

from proto.content.errors import ContentDamaged, ContentTooLarge
from proto.content.rules import (
    DEPTH_MAX,
    LITERAL_BYTES_MAX,
    NODES_MAX,
    VALUES_MAX,
    Operator,
    Predicate,
    RuleSource,
    TimePart,
    Tree,
    check,
    check_predicate,
    fields_of,
    predicates_of,
)
from tests.proto.content.rulebuilders import a_rule, a_rule_set, every, none, some

NC = Predicate("Image", Operator.ENDSWITH, ("/nc",))


def test_a_rule_set_that_keeps_to_the_form_is_returned() -> None:
    rules = a_rule_set([NC, NC], [a_rule(every(0, none(some(0, 1))))])

    assert check(rules) is rules


@pytest.mark.parametrize(
    "predicate",
    [
        Predicate("Image", Operator.EQUALS),
        Predicate("Image", Operator.NULL, ("x",)),
        Predicate("Image", Operator.EXISTS, ("x",)),
        Predicate("Image", Operator.EQUALS, (1,)),
        Predicate("Port", Operator.LT, ("1",)),
        Predicate("Time", Operator.EQUALS, ("1",), part=TimePart.HOUR),
        Predicate("Time", Operator.CONTAINS, (1,), part=TimePart.HOUR),
        Predicate(None, Operator.EQUALS, ("x",)),
        Predicate(None, Operator.NULL),
    ],
)
def test_values_that_an_operator_cannot_use_are_refused(predicate: Predicate) -> None:
    with pytest.raises(ContentDamaged):
        check_predicate(predicate)


def test_a_literal_and_a_list_of_them_have_a_limit() -> None:
    with pytest.raises(ContentTooLarge):
        check_predicate(Predicate("Image", Operator.EQUALS, ("x" * (LITERAL_BYTES_MAX + 1),)))
    with pytest.raises(ContentTooLarge):
        check_predicate(Predicate("Image", Operator.EQUALS, ("x",) * (VALUES_MAX + 1)))


def test_all_literals_together_have_a_limit() -> None:
    large = Predicate("Image", Operator.EQUALS, ("x" * LITERAL_BYTES_MAX,) * 2049)

    with pytest.raises(ContentTooLarge):
        check(a_rule_set([large]))


def test_a_size_is_counted_in_bytes() -> None:
    assert check_predicate(Predicate("Image", Operator.EQUALS, ("é", "\ud800"))) == 5
    assert check_predicate(Predicate("Port", Operator.LT, (5,))) == 8


@pytest.mark.parametrize("tree", [1, -1, every(0, 7), every(), none(every()), some(none(-2))])
def test_a_tree_names_predicates_that_are_there_and_has_no_empty_branch(tree: Tree) -> None:
    with pytest.raises(ContentDamaged):
        check(a_rule_set([NC], [a_rule(tree)]))


def test_a_tree_is_neither_too_deep_nor_too_wide() -> None:
    deep: Tree = 0
    for _ in range(DEPTH_MAX):
        deep = none(deep)

    with pytest.raises(ContentTooLarge):
        check(a_rule_set([NC], [a_rule(deep)]))
    with pytest.raises(ContentTooLarge):
        check(a_rule_set([NC], [a_rule(every(*[0] * NODES_MAX))]))


def test_two_rules_do_not_share_an_id() -> None:
    with pytest.raises(ContentDamaged):
        check(a_rule_set([NC], [a_rule(), a_rule()]))


def test_a_source_takes_events_of_what_it_names() -> None:
    event = RuleSource("linux", "process_creation", "sysmon")

    assert RuleSource("linux").takes(event)
    assert RuleSource(service="sysmon").takes(event)
    assert not RuleSource("windows", "process_creation").takes(event)
    assert not RuleSource("linux", service="auditd").takes(event)


def test_the_fields_of_a_predicate_include_those_it_refers_to() -> None:
    refers = Predicate("User", Operator.FIELD_EQUALS, ("ParentUser",))

    assert fields_of([NC, refers, Predicate(None, Operator.CONTAINS, ("k",))]) == {
        "Image",
        "User",
        "ParentUser",
    }
    assert list(predicates_of(every(2, none(0), some(1, 2)))) == [2, 0, 1, 2]
