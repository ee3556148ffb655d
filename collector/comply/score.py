"""The one scoring function: every number that Vedette shows of readiness comes from here.

Over all hosts h of the population and all checks c that are mapped to the framework, with weight
w = severity x criticality and freshness f:

    A = sum of w where c is not proven not to apply to h
    S = sum of w x f over passes / A                      the evidenced score
    K = sum of w x f over passes and failures / A         how much was seen
    U = (sum of w over passes and hopeful unknowns) / A   what the score could be at most

The population is who is enrolled, not who reported, so silence costs. With A = 0 there is nothing
to divide: S = K = U = 0, and `Readiness.no_evidence` says so.
"""

from collections.abc import Iterable, Mapping
from math import fsum

from msgspec import Struct
from msgspec.structs import astuple, fields

from collector.comply.mapping import Catalogue, CheckRule, Item, Scheme
from collector.comply.standing import (
    Host,
    Latest,
    Standing,
    Statement,
    freshness,
    gather,
    stand,
)
from proto.content.checks import Strength
from proto.model import CheckState

Population = Mapping[bytes, Host]


class ItemReadiness(Struct, frozen=True):
    """One requirement: the state of what machines can show of it, never of the whole.

    ``supporting`` means that there is evidence, but by partial mappings only.
    """

    reference: str
    title: str
    state: CheckState
    score: float
    coverage: float
    machine_share: float
    checks: int
    evidenced: bool
    supporting: bool


class Readiness(Struct, frozen=True, kw_only=True):
    """A framework at a time; fractions from 0 to 1, ``as_of`` in nanoseconds UTC."""

    framework: str
    edition: str
    title: str
    as_of: int
    score: float
    coverage: float
    upper: float
    no_evidence: bool
    hosts: int
    hosts_reporting: int
    hosts_failing: int
    worst_host: bytes | None
    worst_score: float
    mapping_digest: bytes
    items: tuple[ItemReadiness, ...]

    @property
    def evidenced(self) -> int:
        """How many requirements have direct evidence that counts."""
        return sum(1 for item in self.items if item.evidenced)

    @property
    def supporting(self) -> int:
        """How many requirements have evidence by partial mappings only."""
        return sum(1 for item in self.items if item.supporting)


class Sums(Struct, frozen=True):
    """Weights added up over some (host, check) pairs."""

    passed: float
    passed_fresh: float
    failed: float
    failed_fresh: float
    hopeful: float
    hopeless: float
    exempt: float

    @property
    def applicable(self) -> float:
        """A: all but what is proven not to apply."""
        return fsum((self.passed, self.failed, self.hopeful, self.hopeless))

    @property
    def score(self) -> float:
        """S."""
        return _share(self.passed_fresh, self.applicable)

    @property
    def coverage(self) -> float:
        """K."""
        return _share(self.passed_fresh + self.failed_fresh, self.applicable)

    @property
    def upper(self) -> float:
        """U."""
        return _share(self.passed + self.hopeful, self.applicable)


class Weighed(Struct, frozen=True):
    """Where every check of every host stands: ``standings[check][host]``, and the sums by check.

    ``reporting`` are the hosts that said something whose evidence is not too old.
    """

    as_of: int
    population: Population
    weights: Mapping[str, int]
    standings: Mapping[str, Mapping[bytes, Standing]]
    sums: Mapping[str, Sums]
    reporting: frozenset[bytes]


def weigh(
    catalogue: Catalogue, population: Population, statements: Iterable[Statement], as_of: int
) -> Weighed:
    """Return where every check of every enrolled host stands at a time.

    Args:
        catalogue: the checks that count.
        population: enrolled hosts in scope, whether they ever spoke or not.
        statements: what hosts said, in any order, repeated or not.
        as_of: nanoseconds UTC.
    """
    latest = gather(statements)
    hosts = sorted(population)
    standings: dict[str, dict[bytes, Standing]] = {}
    sums: dict[str, Sums] = {}
    reporting: set[bytes] = set()
    for check, rule in sorted(catalogue.checks.items()):
        said = {host: latest.get((host, check)) for host in hosts}
        reporting.update(host for host in hosts if _spoke(said[host], rule, as_of))
        standings[check] = {
            host: stand(said[host], rule, population[host], as_of) for host in hosts
        }
        sums[check] = _sums(rule, standings[check], population)
    weights = {check: rule.weight for check, rule in catalogue.checks.items()}
    return Weighed(as_of, population, weights, standings, sums, frozenset(reporting))


def _spoke(latest: Latest | None, rule: CheckRule, as_of: int) -> bool:
    said = (latest.failed, latest.good, latest.unknown) if latest is not None else ()
    return any(
        one is not None and one.at is not None and freshness(rule, as_of - one.at) > 0
        for one in said
    )


def _sums(rule: CheckRule, standings: Mapping[bytes, Standing], population: Population) -> Sums:
    full: dict[CheckState, list[int]] = {state: [] for state in CheckState}
    fresh: dict[CheckState, list[float]] = {state: [] for state in CheckState}
    hopeless: list[int] = []
    for host, standing in standings.items():
        weight = rule.weight * population[host].criticality
        lost = standing.state is CheckState.UNKNOWN and not standing.hope
        (hopeless if lost else full[standing.state]).append(weight)
        fresh[standing.state].append(weight * standing.credit)
    return Sums(
        passed=fsum(full[CheckState.PASS]),
        passed_fresh=fsum(fresh[CheckState.PASS]),
        failed=fsum(full[CheckState.FAIL]),
        failed_fresh=fsum(fresh[CheckState.FAIL]),
        hopeful=fsum(full[CheckState.UNKNOWN]),
        hopeless=fsum(hopeless),
        exempt=fsum(full[CheckState.NOT_APPLICABLE]),
    )


def readiness(scheme: Scheme, weighed: Weighed) -> Readiness:
    """Return the readiness for one framework."""
    total = total_of(scheme, weighed)
    worst_host, worst_score, failing = _hosts(scheme, weighed)
    return Readiness(
        framework=scheme.framework.framework,
        edition=scheme.framework.edition,
        title=scheme.framework.title,
        as_of=weighed.as_of,
        score=total.score,
        coverage=total.coverage,
        upper=total.upper,
        no_evidence=total.coverage == 0,
        hosts=len(weighed.population),
        hosts_reporting=len(weighed.reporting),
        hosts_failing=failing,
        worst_host=worst_host,
        worst_score=worst_score,
        mapping_digest=scheme.digest,
        items=tuple(_item(item, weighed.sums) for item in scheme.items),
    )


def _item(item: Item, by_check: Mapping[str, Sums]) -> ItemReadiness:
    direct = _total(by_check[one.check] for one in item.mapped if one.strength is Strength.DIRECT)
    partial = _total(by_check[one.check] for one in item.mapped if one.strength is Strength.PARTIAL)
    both = _total((direct, partial))
    share = item.requirement.machine_share
    evidenced = direct.passed_fresh + direct.failed_fresh > 0
    return ItemReadiness(
        reference=item.requirement.id,
        title=item.requirement.title,
        state=_state(direct, partial),
        score=share * _share(direct.passed_fresh, both.applicable),
        coverage=share * both.coverage,
        machine_share=share,
        checks=len(item.mapped),
        evidenced=evidenced,
        supporting=not evidenced and both.coverage > 0,
    )


def _state(direct: Sums, partial: Sums) -> CheckState:
    """Return the state of a requirement's machine part over the whole population."""
    if direct.failed > 0:
        return CheckState.FAIL
    if direct.applicable == 0 and partial.applicable == 0 and direct.exempt > 0:
        return CheckState.NOT_APPLICABLE
    unseen = direct.hopeful + direct.hopeless
    if direct.passed_fresh > 0 and unseen == 0 and partial.failed == 0:
        return CheckState.PASS
    return CheckState.UNKNOWN


def total_of(scheme: Scheme, weighed: Weighed) -> Sums:
    """Return the sums over every check that is mapped to a framework."""
    return _total(weighed.sums[check] for check in scheme.references)


def _total(parts: Iterable[Sums]) -> Sums:
    rows = [astuple(part) for part in parts]
    columns = zip(*rows, strict=True) if rows else ([0.0] for _ in fields(Sums))
    return Sums(*(fsum(column) for column in columns))


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _hosts(scheme: Scheme, weighed: Weighed) -> tuple[bytes | None, float, int]:
    """Return the host with the lowest score of its own, that score, and how many hosts fail."""
    worst: tuple[float, bytes] | None = None
    failing = 0
    by_check = [(weighed.weights[check], weighed.standings[check]) for check in scheme.references]
    for host in weighed.population:
        standings = [(weight, standings[host]) for weight, standings in by_check]
        failing += any(standing.state is CheckState.FAIL for _, standing in standings)
        whole = sum(
            weight
            for weight, standing in standings
            if standing.state is not CheckState.NOT_APPLICABLE
        )
        fresh = fsum(
            weight * standing.credit
            for weight, standing in standings
            if standing.state is CheckState.PASS
        )
        score = (_share(fresh, whole), host)
        worst = score if worst is None else min(worst, score)
    return (worst[1], worst[0], failing) if worst is not None else (None, 0.0, 0)
