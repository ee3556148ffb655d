"""The rooms' own numbers as samples of the metrics table. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from collector.console.ports import Check, Sample
from collector.forward.figures import Figures
from collector.forward.states import SETTLED, Phase
from collector.projection import Lag


def forward_samples(tenant: str, figures: Figures) -> Iterator[Sample]:
    """Yield the numbers of one destination of one tenant."""
    where = (tenant, figures.name)
    yield Sample("forward_lag_batches", figures.lag_batches, where)
    yield Sample("forward_oldest_event_age_seconds", figures.oldest_age_s, where)
    for state in SETTLED:
        count: int = getattr(figures, state.value)
        yield Sample("forward_events_total", count, (*where, state.value))
    yield Sample("forward_resent_events_total", figures.resent, where)
    yield Sample("forward_dead_letters", figures.letters, where)
    for phase in Phase:
        yield Sample("forward_phase", float(phase is figures.phase), (*where, phase.value))
    yield Sample("forward_degraded", float(figures.is_degraded), where)


def projection_samples(tenant: str, projection: str, lag: Lag) -> Iterator[Sample]:
    """Yield the numbers of one projection of one tenant."""
    where = (tenant, projection)
    yield Sample("projection_lag_batches", lag.batches, where)
    yield Sample("projection_lag_seconds", lag.seconds, where)
    yield Sample("projection_pending_records", lag.pending, where)
    yield Sample("projection_poisoned_batches", lag.poisoned, where)


def index_samples(tenant: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    """Yield how much the index of a tenant holds, by what it is."""
    for kind, count in counts.items():
        yield Sample("index_rows", count, (tenant, kind))


def check_samples(checks: Iterable[Check]) -> Iterator[Sample]:
    """Yield what holds of readiness."""
    for check in checks:
        yield Sample("ready", float(check.ok), (check.name,))
