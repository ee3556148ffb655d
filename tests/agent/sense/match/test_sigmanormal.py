from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.sigmanormal import Leaf, Node, Standing, knows, leaves, normal, standing
from proto.content.rules import Branch, Junction, Operator, Predicate, RuleSource, Tree
from tests.proto.content.rulebuilders import (
    LINUX_PROCESS,
    a_rule,
    a_rule_set,
    every,
    none,
    some,
)

FIELDS = ("A", "B", "C")
PREDICATES = [Predicate(field, Operator.EQUALS, ("x",)) for field in FIELDS]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.integers(0, 2),
    lambda below: st.one_of(
        st.builds(none, below),
        st.lists(below, min_size=1, max_size=3).map(lambda args: every(*args)),
        st.lists(below, min_size=1, max_size=3).map(lambda args: some(*args)),
    ),
    max_leaves=8,
)


def kleene(tree: Tree, known: dict[int, bool]) -> bool | None:
    """What is true, false or open where some predicates are."""
    if isinstance(tree, int):
        return known.get(tree)
    found = [kleene(arg, known) for arg in tree.args]
    if tree.op is Junction.NOT:
        return None if found[0] is None else not found[0]
    decisive = tree.op is Junction.ANY
    return decisive if decisive in found else None if None in found else not decisive


def truth(node: Node | None, known: dict[int, bool]) -> bool:
    if node is None:
        return False
    if isinstance(node, Leaf):
        return known[node.place] is not node.negated
    found = [truth(arg, known) for arg in node.args]
    return all(found) if node.is_all else any(found)


@given(TREES, st.frozensets(st.integers(0, 2)))
def test_what_is_left_holds_exactly_where_the_condition_can_be_shown_to(
    tree: Tree, unknown: frozenset[int]
) -> None:
    node = normal(tree, lambda place: place not in unknown)

    for values in product((False, True), repeat=3):
        known = {at: value for at, value in enumerate(values) if at not in unknown}
        assert truth(node, known) is (kleene(tree, known) is True)


def test_a_reference_to_an_unknown_field_is_open_too() -> None:
    refers = Predicate("A", Operator.FIELD_EQUALS, ("B",))

    assert not knows([refers], frozenset({"B"}))(0)
    assert knows([refers], frozenset())(0)
    assert knows([Predicate(None, Operator.CONTAINS, ("k",))], frozenset({"B"}))(0)


def test_leaves_come_from_left_to_right() -> None:
    node = normal(every(2, none(some(0, 1))), lambda _: True)

    assert node is not None
    assert [(leaf.place, leaf.negated) for leaf in leaves(node)] == [
        (2, False),
        (0, True),
        (1, True),
    ]


def worth(condition: Tree, *collected: tuple[RuleSource, set[str]]) -> Standing:
    rules = a_rule_set(PREDICATES, [a_rule(condition)])
    return standing(rules.rules[0], rules, [(one, frozenset(names)) for one, names in collected])


def test_a_rule_is_active_where_all_it_asks_is_collected() -> None:
    found = worth(every(0, none(1)), (LINUX_PROCESS, {"A", "B"}))

    assert (found.state, found.missing, found.alerts) == ("active", (), True)


def test_a_rule_is_dead_where_nothing_is_of_its_source() -> None:
    found = worth(0, (RuleSource("linux", "file_event"), {"A"}))

    assert (found.state, found.alerts) == ("dead", False)


def test_a_rule_whose_negation_asks_what_is_not_collected_is_degraded_and_does_not_alert() -> None:
    found = worth(every(0, none(1)), (LINUX_PROCESS, {"A"}))

    assert (found.state, found.missing, found.alerts) == ("degraded", ("B",), False)


def test_a_rule_that_can_do_without_is_degraded_and_alerts() -> None:
    found = worth(some(0, 1), (LINUX_PROCESS, {"A"}))

    assert (found.state, found.missing, found.alerts) == ("degraded", ("B",), True)


def test_the_best_of_several_sources_counts() -> None:
    sources = RuleSource("linux", "process_creation", "sysmon"), {"A", "B"}

    assert worth(every(0, none(1)), (LINUX_PROCESS, {"A"}), sources).state == "active"


def test_every_branch_is_a_branch() -> None:
    assert isinstance(every(0), Branch)
