"""Conditions with every *not* moved down to the predicates, and what is not known taken out. Pure.

A predicate about a field that nobody collects is neither true nor false. It can make no branch
true, neither as it is nor negated, so it counts as false in both; what is left of a condition is
exactly what can still be shown to hold. A condition of which nothing is left never alerts.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from proto.content.rules import (
    DetectionRule,
    Junction,
    Operator,
    Predicate,
    RuleSet,
    RuleSource,
    Tree,
    fields_of,
    predicates_of,
)


class Leaf(Struct, frozen=True):
    """A predicate by its place in the file, or the contrary of it."""

    place: int
    negated: bool


class Join(Struct, frozen=True):
    """All of some nodes, or any of them."""

    is_all: bool
    args: "tuple[Leaf | Join, ...]"


Node = Leaf | Join


def normal(tree: Tree, is_known: Callable[[int], bool], *, negated: bool = False) -> Node | None:
    """Return a condition in normal form, or None where it cannot be true.

    Args:
        tree: has been checked: it is shallow.
        is_known: whether what a predicate asks is collected.
        negated: return the contrary.
    """
    if isinstance(tree, int):
        return Leaf(tree, negated) if is_known(tree) else None
    if tree.op is Junction.NOT:
        return normal(tree.args[0], is_known, negated=not negated)
    is_all = (tree.op is Junction.ALL) is not negated
    args = [normal(arg, is_known, negated=negated) for arg in tree.args]
    kept = [arg for arg in args if arg is not None]
    if not kept or (is_all and len(kept) < len(args)):
        return None
    return kept[0] if len(kept) == 1 else Join(is_all, tuple(kept))


def knows(predicates: Sequence[Predicate], unknown: frozenset[str]) -> Callable[[int], bool]:
    """Return what says whether a predicate can be answered where some fields are unknown."""
    if not unknown:
        return lambda _: True
    return lambda place: unknown.isdisjoint(fields_of((predicates[place],)))


def leaves(node: Node) -> Iterator[Leaf]:
    """Yield every leaf, from left to right."""
    if isinstance(node, Leaf):
        yield node
        return
    for arg in node.args:
        yield from leaves(arg)


class Standing(Struct, frozen=True):
    """What a rule is worth on a host.

    Args:
        rule: its id.
        state: ``active``; ``degraded``, a field it tests is not collected; ``dead``, nothing here
            is of its log source, or no expression of it can ever be shown to hold.
        missing: the fields that it tests and nobody collects.
        alerts: whether it can still alert.
    """

    rule: str
    state: str
    missing: tuple[str, ...]
    alerts: bool


def standing(
    rule: DetectionRule, rules: RuleSet, collected: Sequence[tuple[RuleSource, frozenset[str]]]
) -> Standing:
    """Return what a rule is worth where these fields are collected of these sources.

    A rule that several sources feed is worth what the best of them makes of it.
    """
    found = [
        _standing(rule, rules, fields) for source, fields in collected if rule.source.takes(source)
    ]
    if not found:
        return Standing(rule.id, "dead", (), alerts=False)
    return min(found, key=lambda one: (not one.alerts, len(one.missing)))


def _standing(rule: DetectionRule, rules: RuleSet, fields: frozenset[str]) -> Standing:
    asked = [rules.predicates[place] for place in predicates_of(rule.condition)]
    missing = fields_of(asked) - fields
    if not missing:
        return Standing(rule.id, "active", (), alerts=True)
    left = normal(rule.condition, knows(rules.predicates, missing))
    return Standing(rule.id, "degraded", tuple(sorted(missing)), alerts=left is not None)


def is_about_presence(predicate: Predicate) -> bool:
    """Return whether a predicate asks if a field is there, and not what it holds."""
    return predicate.op in {Operator.EXISTS, Operator.NULL}
