"""Detection rules as data: what the collector compiles and a host judges by.

A rule is a boolean tree over predicates, and predicates are shared by all rules of a file. A
predicate names a field of an event, one of our operators and literals: there is nothing in it that
could be run. Text is compared in folded case unless ``cased``. A predicate with several values is
true where one of them is.

Limits stand here, in the form both sides agree on; `check` refuses what passes them, and whatever
has been checked can be walked without a further look: ids are in range and trees are shallow.
"""

import enum
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct

from proto.content.errors import ContentDamaged, ContentTooLarge, shown
from proto.model import Severity

FORM: Final = 1
FILE_BYTES_MAX: Final = 32 * 1024 * 1024
RULES_MAX: Final = 20_000
PREDICATES_MAX: Final = 200_000
VALUES_MAX: Final = 16_384
LITERAL_BYTES_MAX: Final = 8192
LITERALS_BYTES_MAX: Final = 16 * 1024 * 1024
NODES_MAX: Final = 4096
DEPTH_MAX: Final = 32
# What an expression may use while it is compiled and run, the same on both sides.
REGEX_BYTES_MAX: Final = 4 * 1024 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Short = Annotated[str, Meta(max_length=256)]
# A field that an event may have, by the name that rules call it.
FieldName = Annotated[str, Meta(min_length=1, max_length=256)]
Value = Annotated[str, Meta(max_length=LITERAL_BYTES_MAX)] | int | float


class Operator(enum.Enum):
    """How a predicate compares; the values are the words of the file."""

    EQUALS = "eq"
    CONTAINS = "in"
    STARTSWITH = "sw"
    ENDSWITH = "ew"
    WILDCARD = "wc"
    REGEX = "re"
    CIDR = "ip"
    LT = "lt"
    LTE = "le"
    GT = "gt"
    GTE = "ge"
    NEQ = "ne"
    EXISTS = "ex"
    NULL = "nu"
    FIELD_EQUALS = "fe"
    FIELD_STARTSWITH = "fs"
    FIELD_ENDSWITH = "fw"
    FIELD_CONTAINS = "fc"


class TimePart(enum.Enum):
    """Which part of a time is compared instead of the whole value."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Junction(enum.Enum):
    """How a branch combines what is below it."""

    ALL = "all"
    ANY = "any"
    NOT = "not"


NUMERIC: Final = frozenset(
    {Operator.LT, Operator.LTE, Operator.GT, Operator.GTE, Operator.NEQ},
)
FIELD_REFERENCES: Final = frozenset(
    {
        Operator.FIELD_EQUALS,
        Operator.FIELD_STARTSWITH,
        Operator.FIELD_ENDSWITH,
        Operator.FIELD_CONTAINS,
    },
)
_WITHOUT_VALUES: Final = frozenset({Operator.EXISTS, Operator.NULL})
# What may be asked of all values of an event at once.
_OF_ANY_FIELD: Final = frozenset({Operator.CONTAINS, Operator.WILDCARD, Operator.REGEX})


class Predicate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One question to an event.

    Args:
        field: of which field; None asks all values of the event (a keyword).
        op: how it compares.
        values: with what; any of them will do. Of a field reference, the other field.
        cased: upper and lower case differ.
        part: compare this part of the time that the field holds, as a number.
    """

    field: FieldName | None
    op: Operator
    values: Annotated[tuple[Value, ...], Meta(max_length=VALUES_MAX)] = ()
    cased: bool = False
    part: TimePart | None = None


class Branch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node with nodes below it; a number is a predicate's place in the file."""

    op: Junction
    args: "tuple[int | Branch, ...]"


Tree = int | Branch


class RuleSource(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """The log source that a rule is for, or that an event is of; empty means any."""

    product: Short = ""
    category: Short = ""
    service: Short = ""

    def takes(self, event: "RuleSource") -> bool:
        """Return whether a rule for this source judges events of another."""
        return (
            self.product in {"", event.product}
            and self.category in {"", event.category}
            and self.service in {"", event.service}
        )


class Technique(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A technique of ATT&CK, a tactic, or both, in the version that the file names."""

    technique: Short = ""
    tactic: Short = ""


class DetectionRule(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One rule; the author is named because licences of rules ask for it."""

    id: Name
    title: Short
    author: Short
    severity: Severity
    status: Short
    source: RuleSource
    condition: Tree
    attack: Annotated[tuple[Technique, ...], Meta(max_length=64)] = ()


class RuleSet(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a file holds."""

    form: int
    attack_version: Short
    predicates: Annotated[tuple[Predicate, ...], Meta(max_length=PREDICATES_MAX)]
    rules: Annotated[tuple[DetectionRule, ...], Meta(max_length=RULES_MAX)]


def check(rules: RuleSet) -> RuleSet:
    """Return a rule set whose every part keeps to the form and its limits.

    Raises:
        ContentDamaged: a predicate or a condition makes no sense, or two rules have one id.
        ContentTooLarge: a limit is passed.
    """
    if len(rules.rules) > RULES_MAX or len(rules.predicates) > PREDICATES_MAX:
        raise ContentTooLarge("more rules or predicates than a file may have")
    left = LITERALS_BYTES_MAX
    for predicate in rules.predicates:
        left -= check_predicate(predicate)
        if left < 0:
            raise ContentTooLarge(f"literals of more than {LITERALS_BYTES_MAX} bytes together")
    for rule in rules.rules:
        check_tree(rule.id, rule.condition, len(rules.predicates))
    if len({rule.id for rule in rules.rules}) != len(rules.rules):
        raise ContentDamaged("two rules have one id")
    return rules


def check_predicate(predicate: Predicate) -> int:
    """Return the size of a predicate's literals in bytes.

    Raises:
        ContentDamaged: its values do not go with its operator.
        ContentTooLarge: a literal or the list of them is too long.
    """
    op, values = predicate.op, predicate.values
    if len(values) > VALUES_MAX:
        raise ContentTooLarge(f"a predicate with more than {VALUES_MAX} values")
    is_number = op in NUMERIC or predicate.part is not None
    wanted: tuple[type, ...] = (int, float) if is_number else (str,)
    if bool(values) is (op in _WITHOUT_VALUES) or not all(_is_a(v, wanted) for v in values):
        raise ContentDamaged(f"values of operator {op.value} that it cannot use")
    if predicate.part is not None and op is not Operator.EQUALS and op not in NUMERIC:
        raise ContentDamaged(f"a part of a time under operator {op.value}")
    if predicate.field is None and (op not in _OF_ANY_FIELD or predicate.part is not None):
        raise ContentDamaged(f"operator {op.value} without a field")
    return sum(_bytes_of(value) for value in values)


def check_tree(rule: str, tree: Tree, predicates: int) -> None:
    """Look at every node of a condition.

    Raises:
        ContentDamaged: a branch without anything below it, or a predicate that is not there.
        ContentTooLarge: more nodes or levels than allowed.
    """
    nodes = 0
    level: list[Tree] = [tree]
    for _ in range(DEPTH_MAX):
        nodes += len(level)
        if nodes > NODES_MAX:
            raise ContentTooLarge(f"rule {shown(rule)} has more than {NODES_MAX} nodes")
        below: list[Tree] = []
        for node in level:
            if isinstance(node, int):
                if not 0 <= node < predicates:
                    raise ContentDamaged(f"rule {shown(rule)} names a predicate that is not there")
            elif not node.args or (node.op is Junction.NOT and len(node.args) != 1):
                raise ContentDamaged(f"rule {shown(rule)} has a branch with nothing to combine")
            else:
                below += node.args
        if not below:
            return
        level = below
    raise ContentTooLarge(f"rule {shown(rule)} is deeper than {DEPTH_MAX} levels")


def predicates_of(tree: Tree) -> Iterator[int]:
    """Yield the predicates that a condition names, from left to right."""
    if isinstance(tree, int):
        yield tree
        return
    for arg in tree.args:
        yield from predicates_of(arg)


def fields_of(predicates: Iterable[Predicate]) -> frozenset[str]:
    """Return the fields that some predicates ask, those referred to included."""
    found = set()
    for predicate in predicates:
        if predicate.field is not None:
            found.add(predicate.field)
        if predicate.op in FIELD_REFERENCES:
            found.update(str(value) for value in predicate.values)
    return frozenset(found)


def _is_a(value: Value, wanted: tuple[type, ...]) -> bool:
    return isinstance(value, wanted) and not isinstance(value, bool)


def _bytes_of(value: Value) -> int:
    if not isinstance(value, str):
        return 8
    # A lone surrogate is no text that a host could be asked for; it is counted and never matches.
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > LITERAL_BYTES_MAX:
        raise ContentTooLarge(f"a literal of more than {LITERAL_BYTES_MAX} bytes")
    return size
