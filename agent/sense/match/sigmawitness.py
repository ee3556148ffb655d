"""Witnesses of a rule: literals one of which an event must hold for the rule to be true. Pure.

A condition in normal form gives clauses, each a set of literals of which at least one has to be
there. The most telling few of them are searched in every event, all rules' at once; only rules all
of whose clauses were seen are judged. A rule without a clause is always judged.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from agent.sense.match.sigmanormal import Leaf, Node
from proto.content.rules import Operator, Predicate
from proto.content.rulestext import fold, parts_of

# Of a longer literal this much is searched, at the end that the operator ties it to.
LITERAL_CHARS_MAX: Final = 48
CLAUSES_MAX: Final = 3
_LITERALS_MAX: Final = 16_384
_TELLING_CHARS: Final = 2

# What so many events hold that finding it says little: as if it were one letter long.
_COMMON: Final = frozenset(
    {
        *("/bin/", "/usr/", "/usr/bin/", "/etc/", "/sh", "/bash", "/bin/sh", "/bin/bash"),
        *("http", "https", ".com", ".exe", ".dll", ".ps1", "cmd.exe", "powershell"),
        *("\\cmd.exe", "\\powershell.exe", "\\pwsh.exe", "c:\\windows\\", "\\system32\\"),
    }
)


class Sought(Struct, frozen=True, order=True):
    """A literal that an event may hold.

    Args:
        field: where; empty stands for all values of the event.
        kind: where in the value: ``in`` anywhere, ``sw`` at its beginning, ``ew`` at its end,
            ``eq`` the whole of it.
        text: folded.
    """

    field: str
    kind: str
    text: str


Clause = frozenset[Sought]


def clauses(node: Node, predicates: Sequence[Predicate]) -> list[Clause]:
    """Return clauses that hold wherever a condition does."""
    if isinstance(node, Leaf):
        found = None if node.negated else _of(predicates[node.place])
        return [found] if found else []
    below = [clauses(arg, predicates) for arg in node.args]
    if node.is_all:
        return [clause for found in below for clause in found]
    if not all(below):
        return []
    union: Clause = frozenset().union(*(max(found, key=worth) for found in below))
    return [union] if len(union) <= _LITERALS_MAX else []


def chosen(found: Iterable[Clause]) -> list[Clause]:
    """Return the clauses worth searching, the most telling first."""
    ordered = sorted(found, key=worth, reverse=True)
    return [
        clause
        for at, clause in enumerate(dict.fromkeys(ordered))
        if not at or (at < CLAUSES_MAX and _is_telling(clause))
    ]


def worth(clause: Clause) -> float:
    """Return how much it says that a clause was seen: long literals and few of them say most."""
    return min(map(_length, clause)) - 1.5 * math.log2(len(clause))


def _is_telling(clause: Clause) -> bool:
    return min(map(_length, clause)) >= _TELLING_CHARS


def _length(sought: Sought) -> float:
    if sought.kind == "eq":
        return len(sought.text) + 6.0
    if sought.text in _COMMON:
        return 1.0
    return len(sought.text) + (2.0 if sought.kind != "in" else 0.0)


def _of(predicate: Predicate) -> Clause | None:
    if predicate.part is not None or predicate.op not in _KINDS:
        return None
    found = [_sought(predicate, str(value)) for value in predicate.values]
    kept = [sought for sought in found if sought is not None]
    # One value without a literal, and the predicate can hold without any.
    return frozenset(kept) if len(kept) == len(found) else None


_KINDS: Final = {
    Operator.EQUALS: "eq",
    Operator.CONTAINS: "in",
    Operator.STARTSWITH: "sw",
    Operator.ENDSWITH: "ew",
    Operator.WILDCARD: "in",
    Operator.REGEX: "in",
}


def _sought(predicate: Predicate, value: str) -> Sought | None:
    kind = _KINDS[predicate.op]
    if predicate.op is Operator.WILDCARD:
        value = max(
            (part for part in parts_of(value) if isinstance(part, str)), key=len, default=""
        )
    elif predicate.op is Operator.REGEX:
        value = literal_of(value)
    text = fold(value)
    if not _is_text(text):
        return None
    if kind == "ew":
        text = text[-LITERAL_CHARS_MAX:]
    elif kind != "eq":
        text = text[:LITERAL_CHARS_MAX]
    return Sought(predicate.field or "", kind, text)


def _is_text(text: str) -> bool:
    """Return whether a text can be searched: there is some, and no lone surrogate in it."""
    return bool(text) and not any("\ud800" <= c <= "\udfff" for c in text)


def literal_of(pattern: str) -> str:
    """Return the longest text that every match of an expression must hold; empty for none known.

    Careful, not clever: groups and classes are passed over, and an expression with alternatives at
    its top, or with anything that is not understood, gives none.
    """
    best = run = ""
    depth = 0
    parts = [*_tokens(pattern), ""]
    for part, following in pairwise(parts):
        if part == _UNKNOWN or (part == "|" and not depth):
            return ""
        depth += (part == "(") - (part == ")")
        is_plain = len(part) == 2 and not depth
        if is_plain and following not in _OPTIONAL:
            run += part[1]
            best = max(best, run, key=len)
        if not is_plain or following in _OPTIONAL or following == "+":
            run = ""
    return best


_UNKNOWN: Final = "unknown"
_OPTIONAL: Final = frozenset("*?{")
_OPERATORS: Final = frozenset("^$.*+?()|")
_REPEAT: Final = re.compile(r"\{\d+(,\d*)?\}", re.ASCII)


def _tokens(pattern: str) -> Iterator[str]:
    """Yield the parts of an expression: an operator, or ``=`` and the character it stands for."""
    at = 0
    while at < len(pattern):
        c = pattern[at]
        escaped = pattern[at + 1 : at + 2]
        if c == "\\":
            at += 2
            if not escaped or escaped in "QExpPC" or escaped.isdigit():
                yield _UNKNOWN
            yield "." if escaped.isalnum() else f"={escaped}"
        elif c == "[":
            at = _class_end(pattern, at)
            yield "."
        elif c == "{":
            repeat = _REPEAT.match(pattern, at)
            at += len(repeat[0]) if repeat else 1
            yield "{"
        else:
            at += 1
            yield c if c in _OPERATORS else f"={c}"


def _class_end(pattern: str, at: int) -> int:
    """Return where a character class that begins at a bracket has ended."""
    at += 2 if pattern[at + 1 : at + 2] == "^" else 1
    if pattern[at : at + 1] == "]":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        named = pattern.find(":]", at) if pattern.startswith("[:", at) else -1
        if named >= 0:
            at = named + 2
        else:
            at += 2 if pattern[at] == "\\" else 1
    return at + 1
