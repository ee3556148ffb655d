"""Frameworks as data: their requirements, and what of each a host can show at all.

A requirement that checks speak for lists its facets in our own words: what a machine can evidence,
what people have to state, and what Vedette does not see. No requirement is a machine's alone, so
its ``machine_share`` is below 1 and telemetry never satisfies it. Ids and editions are the
publishers'; titles of SOC 2 and ISO 27001 are ours.
"""

import enum
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from runtime.errors import VedetteError

TABLES: Final = ("nist80053_5.1.1.json", "iso27001_2022.json", "soc2_2017-2022.json")

_Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)]
_Words = Annotated[str, Meta(min_length=4, max_length=160)]


class FrameworkRejected(VedetteError):
    """A table of a framework, or a mapping to it, breaks the rules of its form."""


class Nature(enum.Enum):
    """Who can show a facet."""

    MACHINE = "machine"
    MANUAL = "manual"
    UNSEEN = "unseen"


class Facet(Struct, frozen=True, forbid_unknown_fields=True):
    """One side of a requirement."""

    id: _Word
    nature: Nature
    words: _Words


class Requirement(Struct, frozen=True, forbid_unknown_fields=True):
    """One item of a framework; without facets no check speaks for it."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+$", max_length=32)]
    title: _Words
    facets: Annotated[tuple[Facet, ...], Meta(max_length=16)] = ()

    def __post_init__(self) -> None:
        if len({facet.id for facet in self.facets}) != len(self.facets):
            raise ValueError("two facets of a requirement have one id")
        if self.facets and not 0 < self.machine_share < 1:
            raise ValueError("a requirement with facets is neither all nor nothing for a machine")

    @property
    def machine_share(self) -> float:
        """The part of the requirement that a machine can evidence: 0 to under 1."""
        machine = sum(1 for facet in self.facets if facet.nature is Nature.MACHINE)
        return machine / len(self.facets) if self.facets else 0.0

    @property
    def machine_facets(self) -> frozenset[str]:
        """Ids of the facets that a check may speak for."""
        return frozenset(facet.id for facet in self.facets if facet.nature is Nature.MACHINE)


class Framework(Struct, frozen=True, forbid_unknown_fields=True):
    """One edition of a framework; ``note`` says where the ids are from and whose the words are."""

    framework: _Word
    edition: Annotated[str, Meta(min_length=1, max_length=32)]
    title: _Words
    note: Annotated[str, Meta(min_length=4, max_length=400)]
    requirements: Annotated[tuple[Requirement, ...], Meta(min_length=1, max_length=1024)]

    def __post_init__(self) -> None:
        if len({requirement.id for requirement in self.requirements}) != len(self.requirements):
            raise ValueError("two requirements have one id")


_TABLE: Final = msgspec.json.Decoder(Framework)


def decode_framework(data: bytes) -> Framework:
    """Return the framework that these bytes are.

    Raises:
        FrameworkRejected: not a table, or one that breaks a rule of its form.
    """
    try:
        return _TABLE.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameworkRejected(f"not the table of a framework: {error}") from error


def builtin_frameworks() -> tuple[Framework, ...]:
    """Return the frameworks that this version of the product ships.

    Raises:
        FrameworkRejected: the installation is damaged.
        OSError: as above.
    """
    folder = Path(__file__).with_name("frameworks")
    return tuple(decode_framework((folder / name).read_bytes()) for name in TABLES)
