"""Tactics and techniques of rules, brought to the one version of ATT&CK that this product names.

``attackids.json`` is the table: what another version calls a tactic or a technique, and what ours
calls it; null is for one that ours has no word for. Whatever the table does not know and our
version cannot have is told, and left out of the rule.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from collector.correlate.rules import ATTACK_VERSION
from proto.content.rules import Technique

VERSION: Final = ATTACK_VERSION
TACTICS: Final = frozenset(
    {
        "reconnaissance",
        "resource-development",
        "initial-access",
        "execution",
        "persistence",
        "privilege-escalation",
        "defense-evasion",
        "credential-access",
        "discovery",
        "lateral-movement",
        "collection",
        "command-and-control",
        "exfiltration",
        "impact",
    },
)
_TABLE: Final = Path(__file__).with_name("attackids.json")
_TECHNIQUE: Final = re.compile(r"t(1\d{3})(\.\d{3})?", re.ASCII)
# Groups, software, campaigns and data sources stand in tags too and are no techniques.
_OTHER: Final = re.compile(r"(g|s|c|ds)\d{4}", re.ASCII)
# Numbers only grow: one above this came with a later version.
_HIGHEST_NUMBER: Final = 1681


class Named(Struct, frozen=True):
    """What tags say in our version's words, and the tags that have none."""

    techniques: tuple[Technique, ...]
    unknown: tuple[str, ...]


@cache
def table() -> dict[str, str | None]:
    """Return the committed table, from a name in lower case to ours."""
    found: dict[str, str | None] = json.loads(_TABLE.read_text("utf-8"))["names"]
    return found


def named(tags: Iterable[str]) -> Named:
    """Return what the names after ``attack.`` mean; names of groups and software are passed over.

    A technique is paired with the tactic where there is one tactic only: tags do not say which
    belongs to which.
    """
    techniques: dict[str, None] = {}
    tactics: dict[str, None] = {}
    unknown = []
    for tag in tags:
        known = _ours(tag.lower().replace("_", "-"))
        if known is None:
            unknown.append(tag)
        elif known in TACTICS:
            tactics[known] = None
        elif known:
            techniques[known] = None
    return Named(_paired(list(techniques), list(tactics)), tuple(unknown))


def _ours(name: str) -> str | None:
    """Return our name, empty where a tag names no technique, None where we have no word for it."""
    if name in table():
        return table()[name]
    if name in TACTICS:
        return name
    if _OTHER.fullmatch(name):
        return ""
    match = _TECHNIQUE.fullmatch(name)
    return name.upper() if match and int(match[1]) <= _HIGHEST_NUMBER else None


def _paired(techniques: list[str], tactics: list[str]) -> tuple[Technique, ...]:
    if techniques and len(tactics) <= 1:
        return tuple(Technique(technique, "".join(tactics)) for technique in techniques)
    return (
        *(Technique(technique) for technique in techniques),
        *(Technique(tactic=tactic) for tactic in tactics),
    )
