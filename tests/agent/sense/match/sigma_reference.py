"""Sigma rules judged the plain way, straight from the parsed tree: what the engine is held against.

It shares nothing with the engine: no rule form, no folding of ours, no prefilter. Strings become
regular expressions of the standard library, and a field that is not known makes a question open
(None), as in Kleene's logic; a rule alerts when the answer is True.
"""

# ruff: noqa: ANN401  (the tree holds whatever pySigma puts in it)

import ipaddress
import random
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import re2
from sigma import types
from sigma.collection import SigmaCollection
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaRule

from collector.content.sigmayaml import SourceFile, documents

Fields = Mapping[str, Any]
MANY, ONE = types.SpecialChars.WILDCARD_MULTI, types.SpecialChars.WILDCARD_SINGLE


class ReferenceRule:
    """One rule and its parsed conditions."""

    def __init__(self, rule: SigmaRule) -> None:
        self.id = str(rule.id or rule.name)
        self.source = rule.logsource
        self.trees = [condition.parsed for condition in rule.detection.parsed_condition]

    def alerts(self, fields: Fields, unknown: frozenset[str] = frozenset()) -> bool:
        return any(_holds(tree, fields, unknown) is True for tree in self.trees)


def reference_rules(files: Iterable[SourceFile]) -> dict[str, ReferenceRule]:
    """Return the rules of some files by their ids, filters applied."""
    found = [document for source in files for document in documents(source)]
    collection = SigmaCollection.from_dicts(found, resolve_references=False)
    rules = [rule for rule in collection.rules if isinstance(rule, SigmaRule)]
    return {rule.id: rule for rule in map(ReferenceRule, rules)}


def _holds(tree: Any, fields: Fields, unknown: frozenset[str]) -> bool | None:
    match tree:
        case ConditionNOT():
            found = _holds(tree.args[0], fields, unknown)
            return None if found is None else not found
        case ConditionAND() | ConditionOR():
            found_all = [_holds(arg, fields, unknown) for arg in tree.args]
            decisive = isinstance(tree, ConditionOR)
            if decisive in found_all:
                return decisive
            return None if None in found_all else not decisive
        case ConditionFieldEqualsValueExpression():
            return _asked(tree.field, tree.value, fields, unknown)
        case ConditionValueExpression():
            texts = [text for value in fields.values() for text in _texts(value)]
            return any(_matches(text, tree.value, anywhere=True) for text in texts)
        case _:
            raise AssertionError(tree)


def _asked(field: str, value: Any, fields: Fields, unknown: frozenset[str]) -> bool | None:
    if isinstance(value, types.SigmaExpansion):
        answers = [_asked(field, item, fields, unknown) for item in value.values]
        return True if True in answers else None if None in answers else False
    if field in unknown:
        return None
    if isinstance(value, types.SigmaExists):
        return (field in fields) is value.exists
    texts = _texts(fields.get(field))
    if isinstance(value, types.SigmaNull):
        return not texts
    if isinstance(value, types.SigmaFieldReference):
        if value.field in unknown:
            return None
        others = _texts(fields.get(value.field))
        return any(_refers(a.casefold(), b.casefold(), value) for a in texts for b in others)
    return any(_matches(text, value, anywhere=False) for text in texts)


def _refers(a: str, b: str, value: types.SigmaFieldReference) -> bool:
    if value.starts_with and value.ends_with:
        return b in a
    if value.starts_with:
        return a[: len(b)] == b
    if value.ends_with:
        return a.endswith(b)
    return a == b


def _texts(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    if value is None:
        return []
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, float) and value == int(value):
        return [str(int(value))]
    return [str(value)]


def _matches(text: str, value: Any, *, anywhere: bool) -> bool:
    match value:
        case types.SigmaString():
            cased = isinstance(value, types.SigmaCasedString)
            parts = tuple(value.s)
            found = _pattern(parts, anywhere, cased).fullmatch(text if cased else text.casefold())
            return found is not None
        case types.SigmaRegularExpression():
            flags = "".join(sorted(value.sigma_to_re_flag[flag] for flag in value.flags))
            return _expression(f"(?{flags})" * bool(flags) + str(value.regexp))(text)
        case types.SigmaTimestampPart():
            return _part(text, value) == value.number
        case types.SigmaNumber() | types.SigmaBool():
            plain = str(value).lower()
            return plain in text.casefold() if anywhere else plain == text.casefold()
        case types.SigmaCompareExpression():
            return _compares(text, value)
        case types.SigmaCIDRExpression():
            try:
                return ipaddress.ip_address(text) in value.network
            except ValueError:
                return False
        case _:
            raise AssertionError(value)


@cache
def _pattern(parts: tuple[Any, ...], anywhere: bool, cased: bool) -> re.Pattern[str]:
    body = "".join(
        ".*"
        if part is MANY
        else "."
        if part is ONE
        else re.escape(part if cased else part.casefold())
        for part in parts
    )
    return re.compile(f".*{body}.*" if anywhere else body, re.DOTALL)


@cache
def _expression(pattern: str) -> Callable[[str], bool]:
    try:
        # RE2 knows no other digits and letters than those of ASCII.
        found = re.compile(pattern, re.ASCII)
    except re.error:
        other = re2.compile(pattern)
        return lambda text: other.search(text) is not None
    return lambda text: found.search(text) is not None


def _compares(text: str, value: types.SigmaCompareExpression) -> bool:
    bound = value.number
    try:
        number = _part(text, bound) if isinstance(bound, types.SigmaTimestampPart) else float(text)
    except ValueError:
        return False
    if number is None:
        return False
    name = value.op.name
    return {
        "LT": number < bound.number,
        "LTE": number <= bound.number,
        "GT": number > bound.number,
        "GTE": number >= bound.number,
        "NEQ": number != bound.number,
    }[name]


def _part(text: str, value: types.SigmaTimestampPart) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.fromtimestamp(float(text), UTC)
        except ValueError:
            return None
    name = value.timestamp_part.name.lower()
    return moment.isocalendar()[1] if name == "week" else getattr(moment, name)


# ------------------------------------------------------------------- events around the literals


class EventMaker:
    """Makes events on both sides of a rule's conditions, from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def events(self, rule: ReferenceRule, count: int) -> list[dict[str, Any]]:
        """Return events that meet a rule or come close to it."""
        made = []
        for _ in range(count):
            fields: dict[str, Any] = {}
            self._meet(self._random.choice(rule.trees), fields, wanted=True)
            made.append(fields)
            made.append(self._changed(fields))
        return made

    def _meet(self, tree: Any, fields: dict[str, Any], *, wanted: bool) -> None:
        match tree:
            case ConditionNOT():
                # Now and then what a rule excludes is there all the same.
                if self._random.random() < 0.25:
                    self._meet(tree.args[0], fields, wanted=not wanted)
            case ConditionAND():
                for arg in tree.args:
                    self._meet(arg, fields, wanted=wanted)
            case ConditionOR():
                self._meet(self._random.choice(tree.args), fields, wanted=wanted)
            case ConditionFieldEqualsValueExpression():
                self._put(tree.field, tree.value, fields)
            case ConditionValueExpression():
                self._put("message", tree.value, fields, anywhere=True)
            case _:
                raise AssertionError(tree)

    def _put(
        self, field: str, value: Any, fields: dict[str, Any], *, anywhere: bool = False
    ) -> None:
        match value:
            case types.SigmaExpansion():
                self._put(field, self._random.choice(value.values), fields, anywhere=anywhere)
            case types.SigmaString():
                self._join(field, self._text(value), fields, anywhere=anywhere)
            case types.SigmaRegularExpression():
                self._join(field, re.sub(r"\\(.)|[\^$.*+?()|]", r"\1", str(value.regexp)), fields)
            case types.SigmaNumber() | types.SigmaBool():
                fields[field] = (
                    value.number if isinstance(value, types.SigmaNumber) else bool(value)
                )
            case types.SigmaCompareExpression():
                fields[field] = value.number.number + self._random.choice((-1, 0, 1))
            case types.SigmaCIDRExpression():
                fields[field] = str(value.network.network_address)
            case types.SigmaFieldReference():
                fields.setdefault(value.field, "same")
                fields[field] = fields[value.field]
            case types.SigmaNull():
                fields.pop(field, None)
            case types.SigmaExists():
                fields[field] = "there"
            case _:
                raise AssertionError(value)

    def _text(self, value: types.SigmaString) -> str:
        filler = ("", "x", " y ", "/z")
        text = "".join(
            part if isinstance(part, str) else self._random.choice(filler) if part is MANY else "q"
            for part in value.s
        )
        return text.swapcase() if self._random.random() < 0.3 else text

    def _join(
        self, field: str, text: str, fields: dict[str, Any], *, anywhere: bool = False
    ) -> None:
        before = fields.get(field)
        if isinstance(before, str) and (anywhere or self._random.random() < 0.9):
            text = before + text if self._random.random() < 0.5 else text + before
        fields[field] = text

    def _changed(self, fields: dict[str, Any]) -> dict[str, Any]:
        changed = dict(fields)
        if not changed:
            return {"Other": "value"}
        field = self._random.choice(sorted(changed))
        value = changed[field]
        match self._random.randrange(6):
            case 0:
                del changed[field]
            case 1:
                changed[field] = None
            case 2 if isinstance(value, str):
                changed[field] = value[1:]
            case 3 if isinstance(value, str):
                changed[field] = value[:-1]
            case 4:
                changed[field] = ["other", value]
            case _:
                changed[field] = f"{value} "
        return changed
