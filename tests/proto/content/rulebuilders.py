"""Rules for the tests of content and of what judges by it."""

from collections.abc import Sequence

from proto.content.rules import (
    FORM,
    Branch,
    DetectionRule,
    Junction,
    Operator,
    Predicate,
    RuleSet,
    RuleSource,
    Tree,
)
from proto.model import Severity

LINUX_PROCESS = RuleSource("linux", "process_creation")


def a_rule(
    condition: Tree = 0, name: str = "rule", source: RuleSource = LINUX_PROCESS
) -> DetectionRule:
    return DetectionRule(name, "A title", "an author", Severity.HIGH, "test", source, condition)


def a_rule_set(
    predicates: Sequence[Predicate] = (), rules: Sequence[DetectionRule] = (), form: int = FORM
) -> RuleSet:
    asked = tuple(predicates) or (Predicate("Image", Operator.ENDSWITH, ("/nc",)),)
    return RuleSet(form, "18.1", asked, tuple(rules) or (a_rule(),))


def every(*args: Tree) -> Branch:
    return Branch(Junction.ALL, args)


def some(*args: Tree) -> Branch:
    return Branch(Junction.ANY, args)


def none(arg: Tree) -> Branch:
    return Branch(Junction.NOT, (arg,))
