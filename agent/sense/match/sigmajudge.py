"""A condition in normal form as a function of an event. Pure.

Built of closures of our own over literals; nothing of a rule is run as code. The common case, a
value a field, has the short road; events with lists take the other one, where a test holds when it
does for any value.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent.sense.match.sigmaevent import SigmaEvent
from agent.sense.match.sigmanormal import Leaf, Node
from agent.sense.match.sigmaprefilter import all_texts, texts_of
from agent.sense.match.sigmatest import Test, checker_of
from proto.content.rules import FIELD_REFERENCES, Operator, Predicate
from proto.content.rulestext import fold


class Look:
    """One event, while it is judged: texts of its fields, made when they are asked for."""

    __slots__ = ("_all", "_folded", "_raw", "event")

    def __init__(self, event: SigmaEvent) -> None:
        self.event = event
        self._raw: dict[str, tuple[str, ...]] = {}
        self._folded: dict[str, tuple[str, ...]] = {}
        self._all: dict[bool, tuple[str, ...]] = {}

    def texts(self, field: str, *, cased: bool) -> tuple[str, ...]:
        """Return the values of a field as text."""
        kept = self._raw if cased else self._folded
        found = kept.get(field)
        if found is None:
            found = texts_of(self.event.fields.get(field))
            if not cased:
                found = tuple(map(fold, found))
            kept[field] = found
        return found

    def all(self, *, cased: bool) -> tuple[str, ...]:
        """Return every value of the event as text."""
        if cased not in self._all:
            texts = all_texts(self.event.fields)
            self._all[cased] = tuple(texts if cased else map(fold, texts))
        return self._all[cased]


Judge = Callable[[Look], bool]


class Judges:
    """What judges by some predicates: each test is built once, when it is first needed."""

    def __init__(self, predicates: Sequence[Predicate]) -> None:
        self._predicates = predicates
        self._leaves: dict[int, Judge] = {}
        for place, predicate in enumerate(predicates):
            # These can be wrong in themselves, which is to be known before anything is judged.
            if predicate.op in {Operator.REGEX, Operator.CIDR}:
                self._leaves[place] = leaf(predicate)

    def judge(self, node: Node) -> Judge:
        """Return what judges a condition."""
        if isinstance(node, Leaf):
            found = self._leaf(node.place)
            return (lambda look: not found(look)) if node.negated else found
        # What costs little is asked first; the outcome is the same in any order.
        args = sorted(node.args, key=self._cost)
        judges = tuple(self.judge(arg) for arg in args)
        return _all(judges) if node.is_all else _any(judges)

    def holds(self, found: Leaf, look: Look) -> bool:
        """Return whether a predicate is true of an event, negated or not."""
        return self._leaf(found.place)(look)

    def _leaf(self, place: int) -> Judge:
        if place not in self._leaves:
            self._leaves[place] = leaf(self._predicates[place])
        return self._leaves[place]

    def _cost(self, node: Node) -> int:
        if not isinstance(node, Leaf):
            return sum(map(self._cost, node.args)) + 2
        predicate = self._predicates[node.place]
        return _COSTS.get(predicate.op, 1) * len(predicate.values or (1,))


_COSTS: Final = {Operator.REGEX: 50, Operator.CIDR: 20, Operator.WILDCARD: 5}


def _all(judges: tuple[Judge, ...]) -> Judge:
    if len(judges) == 2:
        first, second = judges
        return lambda look: first(look) and second(look)

    def holds(look: Look) -> bool:
        for judge in judges:  # noqa: SIM110  (a generator costs more than most tests)
            if not judge(look):
                return False
        return True

    return holds


def _any(judges: tuple[Judge, ...]) -> Judge:
    def holds(look: Look) -> bool:
        for judge in judges:  # noqa: SIM110  (as above)
            if judge(look):
                return True
        return False

    return holds


def leaf(predicate: Predicate) -> Judge:
    """Return what judges one predicate.

    Raises:
        ContentDamaged: an expression or a network that is none.
    """
    field, op = predicate.field, predicate.op
    if op in FIELD_REFERENCES:
        return _referring(predicate)
    if op is Operator.EXISTS:
        return lambda look: field in look.event.fields
    if op is Operator.NULL:
        return lambda look: not look.texts(field or "", cased=True)
    test = checker_of(predicate)
    if field is None:
        return _unbound(test, cased=predicate.cased)
    return _bound(field, test, cased=predicate.cased)


def _unbound(test: Test, *, cased: bool) -> Judge:
    return lambda look: any(map(test, look.all(cased=cased)))


def _bound(field: str, test: Test, *, cased: bool) -> Judge:
    def holds(look: Look) -> bool:
        for text in look.texts(field, cased=cased):  # noqa: SIM110  (as above)
            if test(text):
                return True
        return False

    return holds


_REFERENCES: Final[Mapping[Operator, Callable[[str, str], bool]]] = {
    Operator.FIELD_EQUALS: lambda text, other: text == other,
    Operator.FIELD_STARTSWITH: lambda text, other: text.startswith(other),
    Operator.FIELD_ENDSWITH: lambda text, other: text.endswith(other),
    Operator.FIELD_CONTAINS: lambda text, other: other in text,
}


def _referring(predicate: Predicate) -> Judge:
    field, cased = predicate.field or "", predicate.cased
    others, compare = [str(value) for value in predicate.values], _REFERENCES[predicate.op]

    def holds(look: Look) -> bool:
        return any(
            compare(text, wanted)
            for other in others
            for wanted in look.texts(other, cased=cased)
            for text in look.texts(field, cased=cased)
        )

    return holds
