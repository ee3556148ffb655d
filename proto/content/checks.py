"""Posture checks as data: what is asked of a host, what answer passes, and what it is evidence for.

A pack is JSON, decoded strictly: an unknown field, a missing field or a value over its limit
refuses the whole pack. A check is data and nothing else: it names a probe of ours and parameters,
never a command; it holds no pattern language (regular expressions from content need an engine that
cannot be made to hang). What a check may say when a fact is missing or a probe could not look is
`Fallback`, and that type has no word for pass.

`Expect` is a tree. Its leaves compare one fact, named by a dotted path; a fact that is not there
makes the leaf neither true nor false, and so the branch above it, unless the rest decides.
"""

import enum
import hashlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from proto.errors import Malformed, TooLarge
from proto.model import Severity

FORM: Final = 1
PACK_BYTES_MAX: Final = 4 * 1024 * 1024
CHECKS_MAX: Final = 1024
EXPECT_DEPTH_MAX: Final = 8
EXPECT_NODES_MAX: Final = 64
PARAMETERS_BYTES_MAX: Final = 4096
MAX_AGE_S_MAX: Final = 7 * 24 * 3600

CheckId = Annotated[str, Meta(pattern=r"^[a-z0-9]+(\.[a-z0-9_]+)+$", max_length=64)]
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)]
Short = Annotated[str, Meta(min_length=1, max_length=160)]
Prose = Annotated[str, Meta(min_length=1, max_length=1024)]
FactPath = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=128)]
Scalar = bool | int | Annotated[str, Meta(max_length=256)]
Items = Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(max_length=64)]
Parameters = Annotated[dict[Word, Scalar | Items], Meta(max_length=16)]


class UnknownReason(enum.Enum):
    """Why a verdict is unknown; stable names, used in evidence, reports and metrics."""

    TIMEOUT = "timeout"
    DENIED = "denied"
    MISSING = "missing"
    PARSE = "parse"
    OVERSIZE = "oversize"
    OFFLINE = "offline"
    PROBE_MISSING = "probe_missing"
    STALE = "stale"
    UNREPORTED = "unreported"
    UNTRUSTED = "untrusted"
    UNPROVEN = "unproven"
    FUTURE = "future"


class Fallback(enum.Enum):
    """What a check says without an answer. There is no third member."""

    FAIL = "fail"
    UNKNOWN = "unknown"


class Strength(enum.Enum):
    """How far a check speaks for a requirement; a partial one supports and never satisfies."""

    DIRECT = "direct"
    PARTIAL = "partial"


class Operator(enum.Enum):
    """The words of an expectation."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    SUBSET = "subset"
    SUPERSET = "superset"
    MODE_AT_MOST = "mode_at_most"
    PRESENT = "present"
    ABSENT = "absent"
    ALL = "all"
    ANY = "any"
    NONE_OF = "none_of"
    NOT = "not"


_ON_SCALARS: Final = frozenset({Operator.EQ, Operator.NE})
_ON_NUMBERS: Final = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})
_ON_LISTS: Final = frozenset({Operator.IN, Operator.SUBSET, Operator.SUPERSET})
_ON_PRESENCE: Final = frozenset({Operator.PRESENT, Operator.ABSENT})
_ON_BRANCHES: Final = frozenset({Operator.ALL, Operator.ANY, Operator.NONE_OF, Operator.NOT})
_OCTAL: Final = frozenset("01234567")


class Expect(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One node: a leaf compares the fact at ``of`` with ``value``; a branch combines ``args``."""

    op: Operator
    of: FactPath | None = None
    value: Scalar | Items | None = None
    args: Annotated[tuple["Expect", ...], Meta(max_length=16)] = ()

    def __post_init__(self) -> None:
        branch = self.op in _ON_BRANCHES
        if branch != bool(self.args) or branch == (self.of is not None):
            raise ValueError(
                f"{self.op.value} takes {'args' if branch else 'of'} and not the other"
            )
        if self.op is Operator.NOT and len(self.args) != 1:
            raise ValueError("not takes one arg")
        if not _value_fits(self.op, self.value):
            raise ValueError(f"{self.op.value} cannot use this value")


def _value_fits(op: Operator, value: object) -> bool:
    if op in _ON_SCALARS:
        return isinstance(value, bool | int | str)
    if op in _ON_NUMBERS:
        return isinstance(value, int) and not isinstance(value, bool)
    if op in _ON_LISTS:
        return isinstance(value, tuple) and bool(value or op is Operator.SUBSET)
    if op is Operator.MODE_AT_MOST:
        return isinstance(value, str) and 3 <= len(value) <= 4 and set(value) <= _OCTAL
    return value is None


class Condition(Struct, frozen=True, forbid_unknown_fields=True):
    """When a check applies: positive proof of the contrary, as evidence, or it does apply."""

    probe: Word
    parameters: Parameters
    expect: Expect

    def __post_init__(self) -> None:
        _check_question(self.parameters, self.expect)


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """For which facet of which requirement a check is evidence, how far, and why."""

    framework: Word
    edition: Annotated[str, Meta(min_length=1, max_length=32)]
    reference: Annotated[str, Meta(min_length=1, max_length=32)]
    facet: Word
    strength: Strength
    rationale: Annotated[str, Meta(min_length=12, max_length=400)]

    @property
    def label(self) -> str:
        """The reference as it stands in findings: ``framework:edition/reference``."""
        return f"{self.framework}:{self.edition}/{self.reference}"


class Fixture(Struct, frozen=True, forbid_unknown_fields=True):
    """What a probe could have answered: facts, or why it could not look."""

    facts: dict[str, object] | None = None
    unknown: UnknownReason | None = None

    def __post_init__(self) -> None:
        if (self.facts is None) == (self.unknown is None):
            raise ValueError("a fixture has facts, or the reason why there are none")


class Fixtures(Struct, frozen=True, forbid_unknown_fields=True, rename={"passing": "pass"}):
    """Answers that a reviewer can check a check by; ``exempt`` where it has an ``applies_if``."""

    passing: Fixture
    fail: Fixture
    missing: Fixture
    unreadable: Fixture
    exempt: Fixture | None = None

    def __post_init__(self) -> None:
        if self.unreadable.unknown is None:
            raise ValueError("the unreadable fixture says why nothing was read")


class CheckSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One check. ``applies_if`` is stated even where it is null: always.

    ``interval_s`` is the longest time a verdict goes unsaid, ``max_age_s`` the age at which its
    evidence counts for nothing.
    """

    id: CheckId
    version: Annotated[int, Meta(ge=1, le=10_000)]
    title: Annotated[str, Meta(min_length=8, max_length=120)]
    severity: Severity
    applies_if: Condition | None
    probe: Word
    parameters: Parameters
    expect: Expect
    on_missing: Fallback
    on_error: Fallback
    interval_s: Annotated[int, Meta(ge=60, le=MAX_AGE_S_MAX)]
    max_age_s: Annotated[int, Meta(ge=120, le=MAX_AGE_S_MAX)]
    remediation: Prose
    mappings: Annotated[tuple[Mapping, ...], Meta(min_length=1, max_length=12)]
    fixtures: Fixtures

    def __post_init__(self) -> None:
        if self.severity in {Severity.UNSPECIFIED, Severity.INFORMATIONAL}:
            raise ValueError("a check has a severity from low to critical")
        if not 2 * self.interval_s < self.max_age_s:
            raise ValueError("max_age_s must be over twice interval_s")
        if (self.applies_if is None) != (self.fixtures.exempt is None):
            raise ValueError("the exempt fixture goes with applies_if")
        labels = [mapping.label for mapping in self.mappings]
        if len(set(labels)) != len(labels):
            raise ValueError("a requirement is mapped once")
        _check_question(self.parameters, self.expect)

    @property
    def request(self) -> "Request":
        """What the check asks of the host."""
        return Request(self.probe, canonical(self.parameters).decode())

    @property
    def predicate(self) -> "Request | None":
        """What its applicability asks of the host."""
        if self.applies_if is None:
            return None
        return Request(self.applies_if.probe, canonical(self.applies_if.parameters).decode())

    @property
    def references(self) -> tuple[str, ...]:
        """Labels of the requirements it speaks for."""
        return tuple(mapping.label for mapping in self.mappings)


class CheckPack(Struct, frozen=True, forbid_unknown_fields=True):
    """A version of a set of checks."""

    form: Annotated[int, Meta(ge=FORM, le=FORM)]
    name: Word
    version: Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=32)]
    checks: Annotated[tuple[CheckSpec, ...], Meta(min_length=1, max_length=CHECKS_MAX)]

    def __post_init__(self) -> None:
        ids = [check.id for check in self.checks]
        if len(set(ids)) != len(ids):
            raise ValueError("two checks have one id")


class Request(Struct, frozen=True, order=True):
    """A question to a host: a probe and its parameters as canonical JSON."""

    probe: str
    parameters: str


_BUILTIN: Final = Path(__file__).with_name("checks_linux.json")
_PACK: Final = msgspec.json.Decoder(CheckPack)


def decode_pack(data: bytes) -> CheckPack:
    """Return the pack that these bytes are.

    Args:
        data: untrusted bytes.

    Raises:
        TooLarge: over `PACK_BYTES_MAX`.
        Malformed: not a pack, or one that breaks a rule of its form.
    """
    if len(data) > PACK_BYTES_MAX:
        raise TooLarge(f"a pack of checks has at most {PACK_BYTES_MAX} bytes")
    try:
        return _PACK.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed(f"not a pack of checks: {error}") from error
    except RecursionError as error:
        raise Malformed("not a pack of checks: nested too deeply") from error


def builtin_pack() -> CheckPack:
    """Return the checks that this version of the product ships.

    Raises:
        Malformed: the installation is damaged.
        TooLarge: as above.
        OSError: as above.
    """
    return decode_pack(_BUILTIN.read_bytes())


def canonical(value: object) -> bytes:
    """Return the one JSON spelling of a value: sorted keys, no spaces."""
    return msgspec.json.encode(value, order="sorted")


def evidence_digest(request: Request, version: str, unknown: str, facts: bytes) -> bytes:
    """Return the digest that names what a probe answered, whenever it answered it.

    Args:
        request: the probe and its parameters.
        version: the probe's version.
        unknown: why it could not answer; empty when it did.
        facts: the typed facts as canonical JSON; empty when there are none.
    """
    digest = hashlib.sha256(b"vedette/evidence/1")
    for part in (request.probe, version, request.parameters, unknown):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    digest.update(len(facts).to_bytes(4, "big"))
    digest.update(facts)
    return digest.digest()


def _check_question(parameters: Parameters, expect: Expect) -> None:
    if len(canonical(parameters)) > PARAMETERS_BYTES_MAX:
        raise ValueError(f"the parameters are over {PARAMETERS_BYTES_MAX} bytes")
    if _depth(expect) > EXPECT_DEPTH_MAX or _nodes(expect) > EXPECT_NODES_MAX:
        raise ValueError("the expectation is too deep or too large")


def _depth(expect: Expect) -> int:
    return 1 + max((_depth(arg) for arg in expect.args), default=0)


def _nodes(expect: Expect) -> int:
    return 1 + sum(_nodes(arg) for arg in expect.args)
