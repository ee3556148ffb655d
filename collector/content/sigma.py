"""Sigma rules to the rules of hosts: what compiles, and why the rest does not.

pySigma parses and applies modifiers and filters (tuning documents); its tree becomes ours in
`sigmatree`. Only this room imports it, and only in a process of its own (`sigmachild`): it is
trusted code, but what it parses comes from strangers.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

import re2
from msgspec import Struct
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.modifiers import (
    SigmaEndswithModifier,
    SigmaRegularExpressionModifier,
    SigmaStartswithModifier,
)
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import (
    Placeholder,
    SigmaExpansion,
    SigmaRegularExpression,
    SigmaString,
    SigmaType,
)

from collector.content import attackids
from collector.content.errors import RuleRefused
from collector.content.sigmatree import Predicates, tree_of
from collector.content.sigmayaml import SourceFile, documents
from proto.content.errors import ContentError
from proto.content.rules import (
    FORM,
    REGEX_BYTES_MAX,
    Branch,
    DetectionRule,
    Junction,
    Operator,
    RuleSet,
    RuleSource,
    Tree,
    check_predicate,
    check_tree,
)
from proto.model import Severity

_SHORT_CHARS_MAX: Final = 256
_SEVERITIES: Final = {
    "informational": Severity.INFORMATIONAL,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
# What pySigma lets out of values and conditions that are of no kind it expects.
_PARSER_ERRORS: Final = (
    SigmaError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError,
)  # fmt: skip

_UUID: Final = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

Placeholders = Mapping[str, Sequence[str]]


class Report(Struct, frozen=True, order=True):
    """What is to be said of one rule: why it was left out, or what of it nobody knows.

    Args:
        rule: its id, or the file where it has none.
        file: where it stands.
        state: ``refused``, or ``compiled`` with a remark.
        reason: in words; parts of it may be a rule's own text.
    """

    rule: str
    file: str
    state: str
    reason: str


class Compiled(Struct, frozen=True):
    """The rules that hosts get, and what is to be said of the others."""

    rules: RuleSet
    reports: tuple[Report, ...]
    filters: int


class _Parsed(Struct):
    """What the parser made of all files."""

    rules: list[tuple[str, SigmaRule]]
    filters: list[tuple[str, SigmaFilter]]
    reports: list[Report]


def compile_rules(files: Iterable[SourceFile], placeholders: Placeholders) -> Compiled:
    """Return what becomes of rules.

    Args:
        files: untrusted.
        placeholders: for the ``expand`` modifier: a name, and the values that stand for it.
    """
    parsed = _parsed(files)
    predicates, rules = Predicates(), dict[str, DetectionRule]()
    for file, rule in parsed.rules:
        named = attackids.named(tag.name for tag in rule.tags if tag.namespace == "attack")
        name = _id_of(rule, file, rules)
        if name in rules:
            parsed.reports.append(Report(name, file, "refused", "another rule has this id"))
            continue
        try:
            rules[name] = _rule(name, _filtered(rule, parsed.filters), predicates, placeholders)
        except (RuleRefused, ContentError) as error:
            parsed.reports.append(Report(name, file, "refused", error.message))
            continue
        if named.unknown:
            reason = f"tags unknown to ATT&CK {attackids.VERSION}: {', '.join(named.unknown)}"
            parsed.reports.append(Report(name, file, "compiled", reason))
    made = RuleSet(FORM, attackids.VERSION, predicates.all(), tuple(rules.values()))
    return Compiled(made, tuple(sorted(parsed.reports)), len(parsed.filters))


# ------------------------------------------------------------------------------------ parsing


def _parsed(files: Iterable[SourceFile]) -> _Parsed:
    parsed = _Parsed([], [], [])
    for source in files:
        try:
            for document in documents(source):
                _take(source.name, document, parsed)
        except RuleRefused as error:
            parsed.reports.append(Report(source.name, source.name, "refused", error.message))
    return parsed


def _take(file: str, document: dict[str, Any], parsed: _Parsed) -> None:
    name = str(document.get("id", file))[:_SHORT_CHARS_MAX]
    try:
        made = SigmaCollection.from_dicts(
            [_with_name(document)],
            collect_errors=True,
            collect_filters=True,
            resolve_references=False,
        )
    except _PARSER_ERRORS as error:
        parsed.reports.append(Report(name, file, "refused", _said(error)))
        return
    wrong = [*made.errors, *(error for rule in made.rules for error in rule.errors)]
    if wrong:
        parsed.reports.append(Report(name, file, "refused", _said(wrong[0])))
        return
    parsed.filters += [(file, found) for found in made.filters]
    for rule in made.rules:
        if isinstance(rule, SigmaCorrelationRule):
            reason = "correlation rules are judged at the collector, over what hosts find"
            parsed.reports.append(Report(name, file, "refused", reason))
        else:
            parsed.rules.append((file, rule))


def _with_name(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose id, where it is no UUID, is its name: people make up ids."""
    given = document.get("id")
    if not isinstance(given, str) or _UUID.fullmatch(given):
        return document
    kept = {key: value for key, value in document.items() if key != "id"}
    return {**kept, "name": given}


def _said(error: Exception) -> str:
    return f"{error}".strip().replace("\n", " ")[:_SHORT_CHARS_MAX] or type(error).__name__


def _id_of(rule: SigmaRule, file: str, taken: Container[str]) -> str:
    """Return a rule's id; one without has its name, or its file and its place in it."""
    if rule.id or rule.name:
        return str(rule.id or rule.name)[:_SHORT_CHARS_MAX]
    names = (f"file:{file}#{place}"[-_SHORT_CHARS_MAX:] for place in count(1))
    return next(name for name in names if name not in taken)


def _filtered(rule: SigmaRule, filters: Iterable[tuple[str, SigmaFilter]]) -> SigmaRule:
    """Return a rule with every tuning document that names it.

    Raises:
        RuleRefused: one cannot be applied; the rule without it would say too much.
    """
    for file, found in filters:
        try:
            applied = found.apply_on_rule(rule)
        except _PARSER_ERRORS as error:
            raise RuleRefused(f"filter {file}: {_said(error)}") from error
        rule = applied if isinstance(applied, SigmaRule) else rule
    return rule


# ---------------------------------------------------------------------------------- compiling


def _rule(
    name: str, rule: SigmaRule, predicates: Predicates, placeholders: Placeholders
) -> DetectionRule:
    own = Predicates()
    tree = _condition(rule, own, placeholders)
    check_tree(name, tree, len(own.all()))
    for predicate in own.all():
        check_predicate(predicate)
        if predicate.op is Operator.REGEX:
            _check_regex(str(predicate.values[0]))
    tags = [tag.name for tag in rule.tags if tag.namespace == "attack"]
    source = rule.logsource
    return DetectionRule(
        id=name,
        title=rule.title[:_SHORT_CHARS_MAX],
        author=(rule.author or "")[:_SHORT_CHARS_MAX],
        severity=_SEVERITIES.get(str(rule.level), Severity.MEDIUM),
        status="" if rule.status is None else str(rule.status),
        source=RuleSource(source.product or "", source.category or "", source.service or ""),
        condition=_moved(tree, own, predicates),
        attack=attackids.named(tags).techniques[:64],
    )


def _moved(tree: Tree, own: Predicates, shared: Predicates) -> Tree:
    """Return a condition with the places that its predicates have among those of all rules."""
    places = [shared.place(predicate) for predicate in own.all()]

    def moved(node: Tree) -> Tree:
        if isinstance(node, int):
            return places[node]
        return type(node)(node.op, tuple(moved(arg) for arg in node.args))

    return moved(tree)


def _condition(rule: SigmaRule, predicates: Predicates, placeholders: Placeholders) -> Tree:
    try:
        for detection in rule.detection.detections.values():
            for item in _items(detection):
                _complete(item, placeholders)
        trees = [
            tree_of(condition.parsed, predicates) for condition in rule.detection.parsed_condition
        ]
    except _PARSER_ERRORS as error:
        raise RuleRefused(_said(error)) from error
    return trees[0] if len(trees) == 1 else Branch(Junction.ANY, tuple(trees))


def _items(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from _items(item)
        else:
            yield item


def _complete(item: SigmaDetectionItem, placeholders: Placeholders) -> None:
    """Put in what pySigma leaves to its users: values of placeholders, anchors of expressions."""
    item.value = [_expanded(value, placeholders) for value in item.value]
    if SigmaRegularExpressionModifier not in item.modifiers:
        return
    starts = SigmaStartswithModifier in item.modifiers
    ends = SigmaEndswithModifier in item.modifiers
    for value in item.value:
        if isinstance(value, SigmaRegularExpression) and starts != ends:
            pattern = f"(?:{value.regexp})"
            anchored = f"^{pattern}" if starts else f"{pattern}$"
            value.regexp = SigmaString(anchored, escape=False)


def _expanded(value: SigmaType, placeholders: Placeholders) -> SigmaType:
    if isinstance(value, SigmaExpansion):
        return SigmaExpansion([_expanded(item, placeholders) for item in value.values])
    if isinstance(value, SigmaString | SigmaRegularExpression) and value.contains_placeholder():
        found = value.replace_placeholders(lambda one: _values_of(one, placeholders))
        return SigmaExpansion(list(found))
    return value


def _values_of(found: Placeholder, placeholders: Placeholders) -> Iterator[str]:
    if not placeholders.get(found.name):
        raise RuleRefused(f"no values are given for the placeholder %{found.name}%")
    yield from placeholders[found.name]


def _check_regex(pattern: str) -> None:
    """Compile an expression as hosts will.

    Raises:
        RuleRefused: RE2 does not take it.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_BYTES_MAX
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        raise RuleRefused(f"a regular expression that RE2 refuses: {_text(error)}") from error


def _text(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
