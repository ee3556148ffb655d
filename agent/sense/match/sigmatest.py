"""Predicates as tests of one text. Pure; regular expressions run on RE2 or not at all.

What is built here is closures over literals, from operators of ours: nothing of a rule is run.
"""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from proto.content.errors import ContentDamaged, shown
from proto.content.rules import NUMERIC, REGEX_BYTES_MAX, Operator, Predicate, TimePart
from proto.content.rulestext import Wild, fold, number_of, parts_of

_NS_FROM: Final = 10**17
_US_FROM: Final = 10**14
_MS_FROM: Final = 10**11

Test = Callable[[str], bool]
Number = int | float

_COMPARE: Final[Mapping[Operator, Callable[[float, Number], bool]]] = {
    Operator.EQUALS: lambda number, bound: number == bound,
    Operator.NEQ: lambda number, bound: number != bound,
    Operator.LT: lambda number, bound: number < bound,
    Operator.LTE: lambda number, bound: number <= bound,
    Operator.GT: lambda number, bound: number > bound,
    Operator.GTE: lambda number, bound: number >= bound,
}


def checker_of(predicate: Predicate) -> Test:
    """Return what a predicate asks of one text; folded already unless it is cased.

    Not for those about presence or other fields, which no text answers.

    Raises:
        ContentDamaged: an expression or a network that is none.
    """
    if predicate.part is not None or predicate.op in NUMERIC:
        return _compared(predicate)
    texts = [str(value) for value in predicate.values]
    if predicate.op is Operator.REGEX:
        return _any([_regex(text) for text in texts])
    if predicate.op is Operator.CIDR:
        return _in_networks(texts)
    if not predicate.cased:
        texts = [fold(text) for text in texts]
    if predicate.op is Operator.WILDCARD:
        return _any([wildcard(text) for text in texts])
    return _literal(predicate.op, texts)


def _literal(op: Operator, texts: list[str]) -> Test:
    if op is Operator.EQUALS:
        return frozenset(texts).__contains__
    if op is Operator.STARTSWITH:
        prefixes = tuple(texts)
        return lambda text: text.startswith(prefixes)
    if op is Operator.ENDSWITH:
        suffixes = tuple(texts)
        return lambda text: text.endswith(suffixes)
    return _contains(texts)


def _contains(texts: list[str]) -> Test:
    if len(texts) == 1:
        only = texts[0]
        return lambda text: only in text

    def is_any_in(text: str) -> bool:
        for literal in texts:  # noqa: SIM110  (a generator costs more than the search)
            if literal in text:
                return True
        return False

    return is_any_in


def _any(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda text: any(test(text) for test in tests)


# ----------------------------------------------------------------------- patterns, expressions


def wildcard(pattern: str) -> Test:
    """Return the test of a wildcard pattern: a search for each part in turn, or RE2 for ``?``."""
    parts = parts_of(pattern)
    if Wild.ONE in parts:
        return _regex(f"(?s)^{''.join(map(_as_regex, parts))}$")
    first = parts[0] if parts and isinstance(parts[0], str) else ""
    last = parts[-1] if len(parts) > 1 and isinstance(parts[-1], str) else ""
    if not parts or parts == (first,):
        return first.__eq__
    between = [
        part for part in parts[bool(first) : len(parts) - bool(last)] if part is not Wild.MANY
    ]
    return _in_turn(first, [str(part) for part in between], last)


def _in_turn(first: str, between: list[str], last: str) -> Test:
    def holds(text: str) -> bool:
        end = len(text) - len(last)
        if end < len(first) or not (text.startswith(first) and text.endswith(last)):
            return False
        at = len(first)
        for literal in between:
            at = text.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return True

    return holds


def _as_regex(part: str | Wild) -> str:
    if isinstance(part, Wild):
        return ".*" if part is Wild.MANY else "."
    return _re2().escape(part)  # type: ignore[no-any-return]


def _re2() -> Any:  # noqa: ANN401  (the library has no types)
    # Only where rules have expressions: the library costs four megabytes.
    import re2  # noqa: PLC0415

    return re2


def _regex(pattern: str) -> Test:
    re2 = _re2()
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_BYTES_MAX
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        raise ContentDamaged(f"an expression that RE2 refuses: {shown(pattern)}") from error
    return lambda text: search(text) is not None


# --------------------------------------------------------------------------- numbers, networks


def _in_networks(texts: list[str]) -> Test:
    try:
        networks = [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise ContentDamaged("a network that is none") from error

    def is_inside(text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in networks if network.version == mapped.version)

    return is_inside


def _compared(predicate: Predicate) -> Test:
    compare, part = _COMPARE[predicate.op], predicate.part
    bounds = [value for value in predicate.values if not isinstance(value, str)]

    def holds(text: str) -> bool:
        number = number_of(text) if part is None else part_of(text, part)
        return number is not None and any(compare(number, bound) for bound in bounds)

    return holds


def part_of(text: str, part: TimePart) -> int | None:
    """Return a part of a time, in UTC where it names no other zone; None where it is no time.

    A number counts seconds, milliseconds, microseconds or nanoseconds since 1970, by its size.
    """
    moment = _moment(text)
    if moment is None:
        return None
    if part is TimePart.WEEK:
        return moment.isocalendar().week
    found: int = getattr(moment, part.value)
    return found


def _moment(text: str) -> datetime | None:
    number = number_of(text)
    try:
        if number is None:
            return datetime.fromisoformat(text.strip().upper())
        for floor, unit in ((_NS_FROM, 10**9), (_US_FROM, 10**6), (_MS_FROM, 10**3)):
            if abs(number) >= floor:
                return datetime.fromtimestamp(number / unit, UTC)
        return datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None
