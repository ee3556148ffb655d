"""The tree that pySigma makes of a rule's condition, as predicates and branches of ours.

pySigma has applied every modifier that changes a value (base64, wide, windash ...); what is left
are its types, each of which has one operator here. Neighbours under an *or* that ask the same field
in the same way become one predicate with several values.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct, structs
from sigma import types
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)

from collector.content.errors import RuleRefused
from proto.content.rules import Branch, Junction, Operator, Predicate, TimePart, Tree, Value
from proto.content.rulestext import Part, Wild, joined, text_of

_FIELD_OPERATORS: Final = {
    (False, False): Operator.FIELD_EQUALS,
    (True, False): Operator.FIELD_STARTSWITH,
    (False, True): Operator.FIELD_ENDSWITH,
    (True, True): Operator.FIELD_CONTAINS,
}
_COMPARISONS: Final = {
    types.CompareOperators.LT: Operator.LT,
    types.CompareOperators.LTE: Operator.LTE,
    types.CompareOperators.GT: Operator.GT,
    types.CompareOperators.GTE: Operator.GTE,
    types.CompareOperators.NEQ: Operator.NEQ,
}
_PARTS: Final = {part: TimePart(part.name.lower()) for part in types.TimestampPart}
_WILD: Final = {
    types.SpecialChars.WILDCARD_MULTI: Wild.MANY,
    types.SpecialChars.WILDCARD_SINGLE: Wild.ONE,
}
_FLAGS: Final = types.SigmaRegularExpression.sigma_to_re_flag


class Predicates:
    """The predicates of all rules, each once."""

    def __init__(self) -> None:
        self._places: dict[Predicate, int] = {}

    def place(self, predicate: Predicate) -> int:
        """Return where a predicate stands, which is at the end when it is new."""
        return self._places.setdefault(predicate, len(self._places))

    def all(self) -> tuple[Predicate, ...]:
        """Return them in their order."""
        return tuple(self._places)


def tree_of(condition: object, predicates: Predicates) -> Tree:
    """Return a condition as a tree of ours.

    Args:
        condition: what pySigma made of it.
        predicates: gets those that it asks.

    Raises:
        RuleRefused: it has a value that there is no operator for.
    """
    return _placed(_logical(condition), predicates)


class _Join(Struct, frozen=True):
    """A branch whose predicates have no places yet."""

    junction: Junction
    args: "tuple[Predicate | _Join, ...]"


_Node = Predicate | _Join
_Key = tuple[object, ...]


def _logical(condition: object) -> _Node:
    if isinstance(condition, ConditionAND | ConditionOR):
        junction = Junction.ALL if isinstance(condition, ConditionAND) else Junction.ANY
        return _branch(junction, [_logical(arg) for arg in condition.args])
    if isinstance(condition, ConditionNOT):
        below = _logical(condition.args[0])
        if isinstance(below, _Join) and below.junction is Junction.NOT:
            return below.args[0]
        return _Join(Junction.NOT, (below,))
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        return _asked(condition.field, condition.value)
    if isinstance(condition, ConditionValueExpression):
        return _asked(None, condition.value)
    raise RuleRefused("a condition that is empty or of an unknown kind")


def _branch(junction: Junction, args: Iterable[_Node]) -> _Node:
    flat: list[_Node] = []
    for arg in args:
        is_same = isinstance(arg, _Join) and arg.junction is junction
        flat += arg.args if isinstance(arg, _Join) and is_same else (arg,)
    if junction is Junction.ANY:
        flat = _merged(flat)
    return flat[0] if len(flat) == 1 else _Join(junction, tuple(flat))


def _merged(args: Sequence[_Node]) -> list[_Node]:
    """Make one predicate of those that differ in their values alone, where the first stood."""
    values: dict[_Key, dict[Value, None]] = {}
    for arg in args:
        if isinstance(arg, Predicate):
            values.setdefault(_key(arg), {}).update(dict.fromkeys(arg.values))
    out: list[_Node] = []
    for arg in args:
        if isinstance(arg, _Join):
            out.append(arg)
        elif (found := values.pop(_key(arg), None)) is not None:
            out.append(structs.replace(arg, values=tuple(found)))
    return out


def _key(predicate: Predicate) -> _Key:
    return (predicate.field, predicate.op, predicate.cased, predicate.part)


def _placed(node: _Node, predicates: Predicates) -> Tree:
    if isinstance(node, Predicate):
        return predicates.place(node)
    return Branch(node.junction, tuple(_placed(arg, predicates) for arg in node.args))


# ------------------------------------------------------------------------------------- values


def _asked(field: str | None, value: object) -> _Node:
    if isinstance(value, types.SigmaExpansion):
        return _branch(Junction.ANY, [_asked(field, item) for item in value.values])
    if field == "":
        raise RuleRefused("a field without a name")
    if isinstance(value, types.SigmaExists):
        exists = Predicate(field, Operator.EXISTS)
        return exists if value.exists else _Join(Junction.NOT, (exists,))
    for kind, predicate in _KINDS:
        if isinstance(value, kind):
            found = predicate(field, value)
            if field is None and found.op not in _UNBOUND:
                raise RuleRefused(f"a keyword cannot be compared by {found.op.name.lower()}")
            return found
    raise RuleRefused(f"no operator for a value of type {type(value).__name__}")


_UNBOUND: Final = frozenset({Operator.CONTAINS, Operator.WILDCARD, Operator.REGEX})


def _string(field: str | None, value: types.SigmaString) -> Predicate:
    parts = [_part(part) for part in value.s]
    cased = isinstance(value, types.SigmaCasedString)
    if field is None:
        parts = _keyword(parts)
    op, text = _shape(parts)
    return Predicate(field, op, (text,), cased)


def _part(part: object) -> Part:
    if isinstance(part, str):
        return part
    if isinstance(part, types.SpecialChars):
        return _WILD[part]
    name = getattr(part, "name", "")
    raise RuleRefused(f"no values are given for the placeholder %{name}%")


def _keyword(parts: list[Part]) -> list[Part]:
    """Return a keyword as what it is: something that stands anywhere in a value."""
    while parts and parts[0] is Wild.MANY:
        parts = parts[1:]
    while parts and parts[-1] is Wild.MANY:
        parts = parts[:-1]
    return [Wild.MANY, *parts, Wild.MANY]


def _shape(parts: Sequence[Part]) -> tuple[Operator, str]:
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part is not Wild.MANY or merged[-1:] != [Wild.MANY]:
            merged.append(part)
    match merged:
        case []:
            return Operator.EQUALS, ""
        case [str(text)]:
            return Operator.EQUALS, text
        case [Wild.MANY, str(text), Wild.MANY]:
            return Operator.CONTAINS, text
        case [Wild.MANY, str(text)]:
            return Operator.ENDSWITH, text
        case [str(text), Wild.MANY]:
            return Operator.STARTSWITH, text
        case _:
            return Operator.WILDCARD, joined(merged)


def _regex(field: str | None, value: types.SigmaRegularExpression) -> Predicate:
    if value.contains_placeholder():
        raise RuleRefused("no values are given for a placeholder in a regular expression")
    flags = "".join(sorted(_FLAGS[flag] for flag in value.flags))
    pattern = str(value.regexp)
    text = f"(?{flags}){pattern}" if flags else pattern
    return Predicate(field, Operator.REGEX, (text,), cased=True)


def _time(field: str | None, value: types.SigmaTimestampPart) -> Predicate:
    part = _PARTS[value.timestamp_part]
    return Predicate(field, Operator.EQUALS, (value.number,), part=part)


def _number(field: str | None, value: types.SigmaNumber) -> Predicate:
    text = text_of(value.number) or ""
    return Predicate(field, Operator.CONTAINS if field is None else Operator.EQUALS, (text,))


def _compared(field: str | None, value: types.SigmaCompareExpression) -> Predicate:
    number = value.number
    part = _PARTS[number.timestamp_part] if isinstance(number, types.SigmaTimestampPart) else None
    return Predicate(field, _COMPARISONS[value.op], (number.number,), part=part)


def _bool(field: str | None, value: types.SigmaBool) -> Predicate:
    text = text_of(value.boolean) or ""
    return Predicate(field, Operator.CONTAINS if field is None else Operator.EQUALS, (text,))


def _cidr(field: str | None, value: types.SigmaCIDRExpression) -> Predicate:
    return Predicate(field, Operator.CIDR, (str(value.network),))


def _reference(field: str | None, value: types.SigmaFieldReference) -> Predicate:
    return Predicate(field, _FIELD_OPERATORS[value.starts_with, value.ends_with], (value.field,))


def _null(field: str | None, _: types.SigmaNull) -> Predicate:
    return Predicate(field, Operator.NULL)


# The first that fits: a part of a time is a number to pySigma too.
_KINDS: Final[tuple[tuple[type, Callable[..., Predicate]], ...]] = (
    (types.SigmaString, _string),
    (types.SigmaRegularExpression, _regex),
    (types.SigmaTimestampPart, _time),
    (types.SigmaNumber, _number),
    (types.SigmaCompareExpression, _compared),
    (types.SigmaBool, _bool),
    (types.SigmaCIDRExpression, _cidr),
    (types.SigmaFieldReference, _reference),
    (types.SigmaNull, _null),
)
