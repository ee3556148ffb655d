"""Which rules an event can concern at all: all their witnesses, searched at once. Pure.

Each field has one automaton (Aho-Corasick) and one table of whole values; each literal found sets
the bits of the clauses it stands for. A rule is a candidate when the bits of all its clauses are
set. Short values that come again are remembered: hosts repeat themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmawitness import CLAUSES_MAX, LITERAL_CHARS_MAX, Clause
from proto.content.rulestext import fold, text_of

# Of each field; a value that is longer is searched every time.
REMEMBERED_MAX: Final = 2048
REMEMBERED_CHARS_MAX: Final = 256
# Of a long value this much is searched at once, so that what is found stays small.
_WINDOW_CHARS: Final = 8192
_ANYWHERE: Final = ""
_ALONG_MAX: Final = 20_000

# By kind and text of a literal, the bits of the clauses that it stands for.
_Bits = dict[tuple[str, str], int]
# A field, what its last values held, and what searches another.
_Column = tuple[str, dict[str, int], Callable[[str], int]]


class Prefilter:
    """The clauses of some rules, ready to be searched.

    Args:
        rules: of each rule its clauses; one without any is always a candidate.
    """

    def __init__(self, rules: Sequence[Sequence[Clause]]) -> None:
        self._count = len(rules)
        self._always = 0
        bits: dict[str, _Bits] = {}
        for place, clauses in enumerate(rules):
            for slot in range(CLAUSES_MAX):
                bit = 1 << (slot * self._count + place)
                if slot >= len(clauses):
                    self._always |= bit
                    continue
                for sought in clauses[slot]:
                    found = bits.setdefault(sought.field, {})
                    key = (sought.kind, sought.text)
                    found[key] = found.get(key, 0) | bit
        anywhere = bits.pop(_ANYWHERE, {})
        # What is sought anywhere is sought along with what is sought in a field, one search for
        # both, unless there are so many fields that it would be kept too often.
        is_along = len(anywhere) * len(bits) <= _ALONG_MAX
        self._columns: list[_Column] = [
            (field, {}, _scan(_both(bits[field], anywhere) if is_along else bits[field]))
            for field in sorted(bits)
        ]
        self._fields = frozenset(bits if is_along else ())
        self._others: _Column | None = (_ANYWHERE, {}, _scan(anywhere)) if anywhere else None

    def candidates(self, event: SigmaEvent) -> int:
        """Return the rules that are to be judged, as the bits of a number.

        Raises:
            UnicodeEncodeError: a value has a lone surrogate.
        """
        found = self._always
        fields = event.fields
        for field, known, scan in self._columns:
            value = fields.get(field)
            if value is None:
                continue
            if value.__class__ is str:
                mask = known.get(value)
                if mask is None:
                    mask = _remember(known, value, scan)
                found |= mask
            else:
                for text in texts_of(value):
                    found |= scan(fold(text))
        if self._others is not None:
            found |= self._elsewhere(fields, self._others)
        return _met(found, self._count)

    @property
    def remembered(self) -> int:
        """How many values are remembered, of all fields together."""
        others = len(self._others[1]) if self._others is not None else 0
        return others + sum(len(known) for _, known, _ in self._columns)

    def _elsewhere(self, fields: Mapping[str, FieldValue], others: _Column) -> int:
        """Return what is found of what is sought anywhere, in fields not searched for it yet."""
        _, known, scan = others
        found = 0
        for field, value in fields.items():
            if field in self._fields:
                continue
            for text in texts_of(value):
                mask = known.get(text)
                found |= _remember(known, text, scan) if mask is None else mask
        return found


def _both(one: _Bits, other: _Bits) -> _Bits:
    return {key: one.get(key, 0) | other.get(key, 0) for key in (*one, *other)}


def _met(found: int, count: int) -> int:
    met = found & ((1 << count) - 1)
    for _ in range(CLAUSES_MAX - 1):
        found >>= count
        met &= found
    return met


def _remember(known: dict[str, int], value: str, scan: Callable[[str], int]) -> int:
    mask = scan(fold(value))
    if len(value) <= REMEMBERED_CHARS_MAX:
        if len(known) >= REMEMBERED_MAX:
            known.clear()
        known[value] = mask
    return mask


def texts_of(value: FieldValue) -> tuple[str, ...]:
    """Return the texts of a value: none for null, several for a list."""
    if isinstance(value, list | tuple):
        return tuple(text for item in value if (text := text_of(item)) is not None)
    text = text_of(value)
    return () if text is None else (text,)


def all_texts(fields: Mapping[str, FieldValue]) -> list[str]:
    """Return every text of an event, for what asks no field."""
    return [text for value in fields.values() for text in texts_of(value)]


def _scan(bits: _Bits) -> Callable[[str], int]:
    """Return what gives the bits of all literals in a folded text."""
    whole = {text: mask for (kind, text), mask in bits.items() if kind == "eq"}
    parts = sorted({text for kind, text in bits if kind != "eq"})
    if not parts:
        return lambda text: whole.get(text, 0)
    window = _window(parts, bits)

    def scan(text: str) -> int:
        found = whole.get(text, 0)
        if len(text) <= _WINDOW_CHARS:
            return found | window(text, 0, len(text))
        for begin in range(0, len(text), _WINDOW_CHARS):
            part = text[begin : begin + _WINDOW_CHARS + LITERAL_CHARS_MAX]
            found |= window(part, begin, len(text))
        return found

    return scan


def _window(parts: list[str], bits: _Bits) -> Callable[[str, int, int], int]:
    """Return what gives the bits of the literals in a part of a text.

    It takes the part, where it begins in the text, and how long the text is.
    """
    find = _automaton(parts).find_matches_as_indexes
    inside, first, last = (
        [bits.get((kind, text), 0) for text in parts] for kind in ("in", "sw", "ew")
    )

    def window(part: str, begin: int, size: int) -> int:
        found, left = 0, size - begin
        for at, start, end in find(part, overlapping=True):
            found |= inside[at]
            if not start and not begin:
                found |= first[at]
            if end == left:
                found |= last[at]
        return found

    return window


def _automaton(parts: list[str]) -> Any:  # noqa: ANN401  (the library's class has no types)
    # Only where rules are loaded.
    import ahocorasick_rs as library  # noqa: PLC0415

    return library.AhoCorasick(
        parts, store_patterns=False, implementation=library.Implementation.ContiguousNFA
    )
