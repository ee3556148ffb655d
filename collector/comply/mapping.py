"""Which check speaks for which requirement, how far, and what it weighs."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from collector.comply.framework import (
    Framework,
    FrameworkRejected,
    Requirement,
    builtin_frameworks,
)
from proto.content.checks import CheckPack, CheckSpec, Strength, builtin_pack, canonical
from proto.content.checks import Mapping as CheckMapping
from proto.model import Severity
from runtime.clock import NS_PER_S

WEIGHTS: Final[Mapping[Severity, int]] = {
    Severity.LOW: 1,
    Severity.MEDIUM: 2,
    Severity.HIGH: 4,
    Severity.CRITICAL: 8,
}


class CheckRule(Struct, frozen=True):
    """What scoring needs of a check; times in nanoseconds."""

    id: str
    title: str
    weight: int
    interval: int
    max_age: int


class Mapped(Struct, frozen=True):
    """A check that speaks for a requirement."""

    check: str
    strength: Strength


class Item(Struct, frozen=True):
    """A requirement with the checks that speak for it, sorted; often none."""

    requirement: Requirement
    mapped: tuple[Mapped, ...]


class Scheme(Struct, frozen=True):
    """A framework with its mapping; ``digest`` names both, and the weights.

    ``references`` gives, for each mapped check, the requirements it speaks for.
    """

    framework: Framework
    items: tuple[Item, ...]
    references: Mapping[str, tuple[str, ...]]
    digest: bytes


class Catalogue(Struct, frozen=True):
    """Everything that scoring knows before it sees a host."""

    checks: Mapping[str, CheckRule]
    schemes: tuple[Scheme, ...]


def build_catalogue(pack: CheckPack, frameworks: Sequence[Framework]) -> Catalogue:
    """Return the catalogue of a pack over some frameworks.

    Raises:
        FrameworkRejected: a mapping names an edition, a requirement or a machine facet that is not.
    """
    known = {(table.framework, table.edition) for table in frameworks}
    for check in pack.checks:
        for mapping in check.mappings:
            if (mapping.framework, mapping.edition) not in known:
                raise FrameworkRejected(f"{check.id} maps to {mapping.label}: no such edition")
    rules = {check.id: _rule(check) for check in pack.checks}
    schemes = tuple(_scheme(pack.checks, table) for table in frameworks)
    return Catalogue(rules, schemes)


def builtin_catalogue() -> Catalogue:
    """Return the catalogue of what this version of the product ships.

    Raises:
        FrameworkRejected: the installation is damaged.
        Malformed: as above.
    """
    return build_catalogue(builtin_pack(), builtin_frameworks())


def _rule(check: CheckSpec) -> CheckRule:
    return CheckRule(
        id=check.id,
        title=check.title,
        weight=WEIGHTS[check.severity],
        interval=check.interval_s * NS_PER_S,
        max_age=check.max_age_s * NS_PER_S,
    )


def _scheme(checks: Sequence[CheckSpec], table: Framework) -> Scheme:
    requirements = {requirement.id: requirement for requirement in table.requirements}
    mapped: dict[str, list[Mapped]] = {}
    references: dict[str, tuple[str, ...]] = {}
    for check in sorted(checks, key=lambda check: check.id):
        ours = [mapping for mapping in check.mappings if _is_to(mapping, table)]
        for mapping in ours:
            requirement = requirements.get(mapping.reference)
            if requirement is None or mapping.facet not in requirement.machine_facets:
                raise FrameworkRejected(
                    f"{check.id} maps to {mapping.label}, facet {mapping.facet}: no such one"
                )
            mapped.setdefault(mapping.reference, []).append(Mapped(check.id, mapping.strength))
        if ours:
            references[check.id] = tuple(sorted(mapping.reference for mapping in ours))
    items = tuple(
        Item(requirement, tuple(mapped.get(requirement.id, ())))
        for requirement in table.requirements
    )
    return Scheme(table, items, references, _digest(checks, table))


def _is_to(mapping: CheckMapping, table: Framework) -> bool:
    return (mapping.framework, mapping.edition) == (table.framework, table.edition)


def _digest(checks: Sequence[CheckSpec], table: Framework) -> bytes:
    parts = [
        (
            check.id,
            check.version,
            check.severity,
            check.interval_s,
            check.max_age_s,
            [mapping for mapping in check.mappings if _is_to(mapping, table)],
        )
        for check in sorted(checks, key=lambda check: check.id)
    ]
    return hashlib.sha256(b"vedette/mapping/1" + canonical([table, parts])).digest()
