"""What the console asks of the other rooms. Every method is called from worker threads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from certs.identity import TenantId

ROWS_MAX = 1000

Row = Mapping[str, object]
Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Word = Annotated[str, Meta(max_length=256)]


class FindingQuery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which findings; times in nanoseconds UTC, None for no bound."""

    kind: Literal["detection", "vulnerability", "compliance", "integrity", "health"] | None = None
    rule: Word | None = None
    # An agent's id, as a UUID.
    agent: Word | None = None
    severity_min: Literal["informational", "low", "medium", "high", "critical"] | None = None
    since: Time | None = None
    until: Time | None = None
    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] = 100


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows."""

    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] = 100


class Queries(Protocol):
    """What the API answers from; rows are JSON data."""

    def tenants(self) -> Sequence[TenantId]:
        """Return every tenant there is."""
        ...

    def findings(self, tenant: TenantId, wanted: FindingQuery) -> Iterable[Row]:
        """Return findings, the newest first.

        Raises:
            VedetteError: they cannot be read now.
        """
        ...

    def hosts(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        """Return hosts by name.

        Raises:
            VedetteError: they cannot be read now.
        """
        ...

    def incidents(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        """Return incidents at their newest revision, the latest first.

        Raises:
            VedetteError: they cannot be read now.
        """
        ...

    def readiness(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        """Return the readiness for each framework.

        Raises:
            VedetteError: it cannot be read now.
        """
        ...


class Sample(Struct, frozen=True):
    """One number of one metric.

    Args:
        metric: a name in `metrics.METRICS`.
        value: in the metric's unit.
        labels: values for the metric's label names, in their order.
    """

    metric: str
    value: float
    labels: tuple[str, ...] = ()


class MetricsSource(Protocol):
    """Where numbers come from."""

    def samples(self) -> Iterable[Sample]:
        """Return every number as it is now, the checks of readiness among them.

        Raises:
            VedetteError: they cannot be read now.
        """
        ...


class Check(Struct, frozen=True):
    """One thing that must hold for the collector to be ready.

    Args:
        name: a constant word.
        ok: whether it holds.
        detail: why not, for operators; it is shown without a login, so it must hold no data.
    """

    name: str
    ok: bool
    detail: str = ""


class Readiness(Protocol):
    """Whether the collector can do its work: above all, whether ledgers can commit."""

    def checks(self) -> Sequence[Check]:
        """Return what holds and what does not; at least one check."""
        ...
