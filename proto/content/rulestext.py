"""How values become text that rules compare: folded case, numbers, wildcards.

Case is folded by `str.casefold`, character by character: so a text that contains another still
does when both are folded, which `str.lower` does not promise (a final sigma).
"""

import enum
from collections.abc import Sequence
from typing import Final

ESCAPE: Final = "\\"


class Wild(enum.Enum):
    """What a wildcard stands for: any text, or one character."""

    MANY = "*"
    ONE = "?"


Part = str | Wild
_WILD: Final = {wild.value: wild for wild in Wild}


def fold(text: str) -> str:
    """Return a text as it is compared where case does not matter."""
    return text.casefold()


def text_of(value: object) -> str | None:
    """Return a value of an event as text, or None for null: 4688 and 4688.0 are ``4688``."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def number_of(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) != float("inf") and number == number else None  # noqa: PLR0124


def joined(parts: Sequence[Part]) -> str:
    """Return a wildcard pattern as the file holds it: a backslash makes one character plain."""
    return "".join(
        part.value
        if isinstance(part, Wild)
        else "".join(f"{ESCAPE}{c}" if c in "*?\\" else c for c in part)
        for part in parts
    )


def parts_of(pattern: str) -> tuple[Part, ...]:
    """Return the parts of a wildcard pattern; any text is one."""
    parts: list[Part] = []
    plain: list[str] = []
    escaped = False
    for c in pattern:
        if escaped or (c != ESCAPE and c not in _WILD):
            plain.append(c)
            escaped = False
        elif c == ESCAPE:
            escaped = True
        else:
            if plain:
                parts.append("".join(plain))
                plain = []
            parts.append(_WILD[c])
    if escaped:
        plain.append(ESCAPE)
    if plain:
        parts.append("".join(plain))
    return tuple(parts)
