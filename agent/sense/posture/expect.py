"""Whether facts are as expected: true, false, or not to be said.

Logic has three values. A leaf whose fact is absent is `Truth.MISSING`; ``all`` is false as soon as
one arg is, ``any`` true as soon as one is, and otherwise a missing arg makes the branch missing.
So no operator turns the absence of a fact into a pass, but ``absent``, which asks for it.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import UNSET

from proto.content.checks import Expect, Operator
from runtime.errors import VedetteError

WHY_CHARS_MAX: Final = 400
_SHOWN_CHARS_MAX: Final = 80

Facts = Mapping[str, object]


class FactMisfit(VedetteError):
    """A fact is of another type than the check compares it with."""


class Truth(enum.Enum):
    """The three values."""

    TRUE = "true"
    FALSE = "false"
    MISSING = "missing"

    @classmethod
    def of(cls, value: bool) -> "Truth":  # noqa: FBT001  (it is what the class is made of)
        """Return the definite value."""
        return cls.TRUE if value else cls.FALSE


def evaluate(expect: Expect, facts: Facts) -> Truth:
    """Return whether the facts are as expected.

    Args:
        expect: from content.
        facts: as decoded from canonical JSON; null stands for looked, and there is none.

    Raises:
        FactMisfit: a fact is of another type than the check compares it with.
    """
    match expect.op:
        case Operator.ALL:
            return _all([evaluate(arg, facts) for arg in expect.args])
        case Operator.ANY:
            return _not(_all([_not(evaluate(arg, facts)) for arg in expect.args]))
        case Operator.NONE_OF:
            return _all([_not(evaluate(arg, facts)) for arg in expect.args])
        case Operator.NOT:
            return _not(evaluate(expect.args[0], facts))
        case _:
            return _leaf(expect, fact_at(facts, expect.of or ""))


def fact_at(facts: Facts, path: str) -> object:
    """Return the fact at a dotted path; None where it is null, UNSET where no such fact exists."""
    found: object = facts
    for step in path.split("."):
        if found is None:
            return None
        if not isinstance(found, Mapping) or step not in found:
            return UNSET
        found = found[step]
    return found


def why_not(expect: Expect, facts: Facts) -> str:
    """Return, in words, the first part of an expectation that the facts do not meet.

    Raises:
        FactMisfit: as of `evaluate`.
    """
    text = _because(expect, facts, wanted=Truth.TRUE)
    return text if len(text) <= WHY_CHARS_MAX else f"{text[: WHY_CHARS_MAX - 1]}…"


def _because(expect: Expect, facts: Facts, *, wanted: Truth) -> str:
    """Say why an expectation has not the truth that is wanted of it."""
    if not expect.args:
        return _leaf_words(expect, facts, wanted=wanted)
    inner = wanted if expect.op in {Operator.ALL, Operator.ANY} else _not(wanted)
    culprits = [arg for arg in expect.args if evaluate(arg, facts) is not inner]
    words = [_because(arg, facts, wanted=inner) for arg in culprits]
    one_is_enough = (expect.op is Operator.ANY) != (wanted is Truth.FALSE)
    return " and ".join(words) if one_is_enough else words[0]


def _leaf_words(expect: Expect, facts: Facts, *, wanted: Truth) -> str:
    fact = fact_at(facts, expect.of or "")
    shown = "not there" if fact is None or fact is UNSET else _show(fact)
    rule = expect.op.value.replace("_", " ")
    against = "" if expect.value is None else f" {_show(expect.value)}"
    negation = "" if wanted is Truth.TRUE else "not "
    return f"{expect.of} is {shown}, wanted {negation}{rule}{against}"


def _show(value: object) -> str:
    if isinstance(value, list | tuple):
        text = f"[{', '.join(str(item) for item in value)}]"
    else:
        text = str(value)
    printable = "".join(char if char.isprintable() else "?" for char in text)
    if len(printable) <= _SHOWN_CHARS_MAX:
        return printable
    return f"{printable[: _SHOWN_CHARS_MAX - 1]}…"


def _all(values: list[Truth]) -> Truth:
    if Truth.FALSE in values:
        return Truth.FALSE
    return Truth.MISSING if Truth.MISSING in values else Truth.TRUE


def _not(value: Truth) -> Truth:
    if value is Truth.MISSING:
        return value
    return Truth.of(value is Truth.FALSE)


def _leaf(expect: Expect, fact: object) -> Truth:
    if fact is UNSET:
        # A path that the probe's facts do not have says nothing, not even that the fact is absent.
        return Truth.MISSING
    if expect.op is Operator.PRESENT:
        return Truth.of(fact is not None)
    if expect.op is Operator.ABSENT:
        return Truth.of(fact is None)
    if fact is None:
        return Truth.MISSING
    return Truth.of(_COMPARE[expect.op](expect, fact))


def _same(expect: Expect, fact: object) -> bool:
    if type(fact) is not type(expect.value):
        raise _misfit(expect)
    return fact == expect.value


def _ordered(expect: Expect, fact: object) -> bool:
    limit = expect.value
    if isinstance(fact, bool) or not isinstance(fact, int) or not isinstance(limit, int):
        raise _misfit(expect)
    if expect.op is Operator.LT:
        return fact < limit
    if expect.op is Operator.LE:
        return fact <= limit
    return fact > limit if expect.op is Operator.GT else fact >= limit


def _is_in(expect: Expect, fact: object) -> bool:
    return _text(expect, fact) in _wanted(expect)


def _is_subset(expect: Expect, fact: object) -> bool:
    return _texts(expect, fact) <= _wanted(expect)


def _is_superset(expect: Expect, fact: object) -> bool:
    return _texts(expect, fact) >= _wanted(expect)


def _is_mode_at_most(expect: Expect, fact: object) -> bool:
    return not _mode(expect, fact) & ~int(str(expect.value), 8)


def _text(expect: Expect, fact: object) -> str:
    if not isinstance(fact, str):
        raise _misfit(expect)
    return fact


def _texts(expect: Expect, fact: object) -> set[str]:
    if not isinstance(fact, list | tuple):
        raise _misfit(expect)
    return {_text(expect, item) for item in fact}


def _wanted(expect: Expect) -> set[str]:
    return set(expect.value) if isinstance(expect.value, tuple) else set()


def _mode(expect: Expect, fact: object) -> int:
    text = _text(expect, fact)
    if not 1 <= len(text) <= 4 or not set(text) <= set("01234567"):
        raise _misfit(expect)
    return int(text, 8)


def _misfit(expect: Expect) -> FactMisfit:
    return FactMisfit(f"{expect.of} cannot be compared by {expect.op.value}")


_COMPARE: Final[Mapping[Operator, Callable[[Expect, object], bool]]] = {
    Operator.EQ: _same,
    Operator.NE: lambda expect, fact: not _same(expect, fact),
    Operator.LT: _ordered,
    Operator.LE: _ordered,
    Operator.GT: _ordered,
    Operator.GE: _ordered,
    Operator.IN: _is_in,
    Operator.SUBSET: _is_subset,
    Operator.SUPERSET: _is_superset,
    Operator.MODE_AT_MOST: _is_mode_at_most,
}
