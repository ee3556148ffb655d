"""An event as rules see it: fields by the names that rules use, and where it came from. Pure.

Three things a field can be: there, with a value or null; not there; and not known, because nothing
on this host collects it. A rule that asks for what is not known is not answered with a guess.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from proto.content.rules import RuleSource

FIELDS_MAX: Final = 512
VALUES_MAX: Final = 256
TEXT_CHARS_MAX: Final = 64 * 1024

Scalar = str | int | float | bool | None
FieldValue = Scalar | list[Scalar] | tuple[Scalar, ...]


class SigmaEvent(Struct, frozen=True):
    """One event.

    Args:
        sources: every log source that it is of: an event of Sysmon is one of its category too.
            Without any, every rule judges it.
        fields: by name; a list holds where any of its values does.
        unknown: fields that nobody looked for; never in ``fields``.
    """

    sources: tuple[RuleSource, ...]
    fields: Mapping[str, FieldValue]
    unknown: frozenset[str] = frozenset()
