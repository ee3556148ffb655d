"""Detection rules over events: routed by log source, prefiltered by witnesses, judged. Pure.

What concerns an event is decided in three steps, each cheaper to fail than the next: rules of its
log source; of those, the ones whose witnesses it holds; of those, the ones whose condition it
meets. An event with fields that nobody collects is judged by conditions from which these are taken
out (`sigmanormal`), so a rule never alerts on what was not seen.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct, structs

from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmajudge import Judge, Judges, Look
from agent.sense.match.sigmanormal import Node, knows, leaves, normal
from agent.sense.match.sigmaprefilter import Prefilter
from agent.sense.match.sigmawitness import chosen, clauses
from proto.content.rules import DetectionRule, RuleSet, RuleSource, fields_of

# Distinct combinations of log sources and unknown fields that are kept ready.
GROUPS_MAX: Final = 256
_SHOWN_CHARS_MAX: Final = 4096


class RuleMatch(Struct, frozen=True):
    """A rule that an event meets, and the fields by which it does."""

    rule: DetectionRule
    fields: Mapping[str, FieldValue]


class _Group:
    """The rules that judge events of one kind."""

    def __init__(
        self,
        rules: RuleSet,
        judges: Judges,
        chosen_rules: list[tuple[DetectionRule, Node]],
        key: tuple[tuple[int, ...], frozenset[str]],
    ) -> None:
        self.rules = chosen_rules
        self.key = key
        self.judges: list[Judge | None] = [None] * len(chosen_rules)
        self._shared = judges
        self.prefilter = Prefilter(
            [chosen(clauses(node, rules.predicates)) for _, node in chosen_rules]
        )

    def judge(self, place: int) -> Judge:
        """Return what judges by one rule; it is built when it is first needed."""
        judge = self.judges[place]
        if judge is None:
            judge = self._shared.judge(self.rules[place][1])
            self.judges[place] = judge
        return judge


class RuleEngine:
    """Rules, ready to judge.

    Args:
        rules: have been checked, as every rule file is when it is read.

    Attributes:
        rules: as given.
        fields: all fields that any of them asks.

    Raises:
        ContentDamaged: an expression or a network of a rule is none.
    """

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self._judges = Judges(rules.predicates)
        self._groups: dict[tuple[tuple[RuleSource, ...], frozenset[str]], _Group] = {}
        self.fields = fields_of(rules.predicates)
        self._sources = frozenset(rule.source for rule in rules.rules)

    def prepare(self, sources: tuple[RuleSource, ...], unknown: frozenset[str]) -> int:
        """Make ready for events of some sources; return how many rules judge them."""
        return len(self._group(sources, unknown).rules)

    def match(self, event: SigmaEvent) -> list[RuleMatch]:
        """Return the rules that an event meets, in the order of the file."""
        group = self._groups.get((event.sources, event.unknown))
        if group is None:
            group = self._group(event.sources, event.unknown)
        try:
            found = group.prefilter.candidates(event)
            return self._judged(group, event, found) if found else []
        except UnicodeEncodeError:
            # Names on a host are bytes; what is no text in them is compared as a question mark.
            return self.match(_as_text(event))

    def candidates(self, event: SigmaEvent) -> int:
        """Return by how many rules an event has to be judged."""
        return self._group(event.sources, event.unknown).prefilter.candidates(event).bit_count()

    def _judged(self, group: _Group, event: SigmaEvent, found: int) -> list[RuleMatch]:
        look = Look(event)
        matches = []
        while found:
            bit = found & -found
            found ^= bit
            place = bit.bit_length() - 1
            judge = group.judges[place] or group.judge(place)
            if judge(look):
                rule, node = group.rules[place]
                matches.append(RuleMatch(rule, dict(self._shown(node, look))))
        return matches

    def _shown(self, node: Node, look: Look) -> Iterator[tuple[str, FieldValue]]:
        """Yield the fields whose predicates hold, with what the event has there."""
        for leaf in leaves(node):
            field = self.rules.predicates[leaf.place].field
            if leaf.negated or field is None or field not in look.event.fields:
                continue
            if self._judges.holds(leaf, look):
                value = look.event.fields[field]
                yield field, value[:_SHOWN_CHARS_MAX] if isinstance(value, str) else value

    def _group(self, sources: tuple[RuleSource, ...], unknown: frozenset[str]) -> _Group:
        group = self._groups.get((sources, unknown))
        if group is None:
            if len(self._groups) >= GROUPS_MAX:
                self._groups.clear()
            # Many sources have the same rules, and rules are what takes room.
            key = (self._routed(sources), unknown)
            same = (one for one in self._groups.values() if one.key == key)
            group = next(same, None) or self._made(*key)
            self._groups[sources, unknown] = group
        return group

    def _routed(self, sources: tuple[RuleSource, ...]) -> tuple[int, ...]:
        """Return which rules are for events of some sources."""
        taken = {
            source: not sources or any(source.takes(event) for event in sources)
            for source in self._sources
        }
        return tuple(at for at, rule in enumerate(self.rules.rules) if taken[rule.source])

    def _made(self, routed: tuple[int, ...], unknown: frozenset[str]) -> _Group:
        is_known = knows(self.rules.predicates, unknown)
        found = []
        for at in routed:
            rule = self.rules.rules[at]
            node = normal(rule.condition, is_known)
            if node is not None:
                found.append((rule, node))
        return _Group(self.rules, self._judges, found, (routed, unknown))


def _as_text(event: SigmaEvent) -> SigmaEvent:
    return structs.replace(
        event, fields={name: _clean(value) for name, value in event.fields.items()}
    )


def _clean(value: FieldValue) -> FieldValue:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [
            item.encode("utf-8", "replace").decode() if isinstance(item, str) else item
            for item in value
        ]
    return value
