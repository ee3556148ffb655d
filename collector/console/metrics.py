"""Every metric there is, in one table, and the text that Prometheus reads.

Labels are bounded: values come from settings and from our own words, never from a host. Tenants
beyond the first 200 are counted together as ``other``; their numbers are added up or, where that
would mean nothing, the largest stands for all.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.console.ports import Sample

PREFIX: Final = "vedette_"
OTHER: Final = "other"
TENANTS_MAX: Final = 200
LABEL_CHARS_MAX: Final = 64
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FORWARD: Final = ("tenant", "destination")
_PROJECTION: Final = ("tenant", "projection")


class MetricSpec(Struct, frozen=True):
    """What one metric means.

    Args:
        kind: a counter only grows; its name ends in ``_total``.
        help: one sentence without a full stop.
        labels: names of its labels.
        fold: what stands for several series that are counted together.
    """

    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()
    fold: Literal["sum", "max"] = "sum"


METRICS: Final[Mapping[str, MetricSpec]] = {
    "build_info": MetricSpec("gauge", "The version that runs", ("version",), "max"),
    "ready": MetricSpec("gauge", "1 for each check of readiness that holds", ("check",), "max"),
    "tenants": MetricSpec("gauge", "Tenants that have a ledger"),
    "ledger_batches_total": MetricSpec("counter", "Batches kept in the ledger", ("tenant",)),
    "verified_batches_total": MetricSpec("counter", "Batches below the verified mark", ("tenant",)),
    "refused_batches_total": MetricSpec(
        "counter", "Batches whose body was not what their signed header says", ("tenant",)
    ),
    "log_entries": MetricSpec("gauge", "Entries in the transparency log", ("tenant",)),
    "projection_lag_batches": MetricSpec(
        "gauge", "Verified batches that a projection has not taken in", _PROJECTION
    ),
    "projection_lag_seconds": MetricSpec(
        "gauge", "Age of the oldest batch that a projection has not taken in", _PROJECTION, "max"
    ),
    "projection_pending_records": MetricSpec(
        "gauge", "Derived records that wait for their seal", _PROJECTION
    ),
    "projection_poisoned_batches": MetricSpec(
        "gauge", "Batches that a projection could not take in", _PROJECTION
    ),
    "index_rows": MetricSpec("gauge", "Rows in the index, by what they are", ("tenant", "kind")),
    "forward_lag_batches": MetricSpec(
        "gauge", "Verified batches that a destination has not dealt with", _FORWARD
    ),
    "forward_oldest_event_age_seconds": MetricSpec(
        "gauge", "Age of the oldest event on its way to a destination", _FORWARD, "max"
    ),
    "forward_events_total": MetricSpec(
        "counter", "Events that came to rest, by how far they came", (*_FORWARD, "state")
    ),
    "forward_resent_events_total": MetricSpec(
        "counter", "Events sent again because their fate was unknown", _FORWARD
    ),
    "forward_dead_letters": MetricSpec(
        "gauge", "Events set aside that wait for somebody", _FORWARD
    ),
    "forward_phase": MetricSpec(
        "gauge", "1 for the phase that a destination is in", (*_FORWARD, "phase")
    ),
    "forward_degraded": MetricSpec(
        "gauge", "1 where events reach less than the destination could give", _FORWARD, "max"
    ),
}


def exposition(samples: Iterable[Sample]) -> bytes:
    """Return samples as the text that Prometheus reads.

    Raises:
        KeyError: a sample of a metric that the table does not have.
        ValueError: a sample with another number of labels than its metric.
    """
    registry = CollectorRegistry()
    registry.register(_Source(samples))
    return generate_latest(registry)


def folded(samples: Iterable[Sample]) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the numbers of each metric by its labels, bounded; metrics in the table's order.

    Raises:
        KeyError: a sample of a metric that the table does not have.
        ValueError: a sample with another number of labels than its metric.
    """
    series: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in METRICS}
    tenants: set[str] = set()
    for sample in samples:
        spec = METRICS[sample.metric]
        labels = _bounded(spec, sample.labels, tenants)
        known = series[sample.metric]
        if labels in known:
            before = known[labels]
            value = max(before, sample.value) if spec.fold == "max" else before + sample.value
            known[labels] = value
        else:
            known[labels] = sample.value
    return {name: known for name, known in series.items() if known}


class _Source(Collector):
    """What a registry asks once."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def describe(self) -> Iterable[Metric]:
        """Return nothing: there is one collector in the registry and no clash of names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a number."""
        for name, series in folded(self._samples).items():
            spec = METRICS[name]
            family: CounterMetricFamily | GaugeMetricFamily
            if spec.kind == "counter":
                bare = name.removesuffix("_total")
                family = CounterMetricFamily(PREFIX + bare, spec.help, labels=spec.labels)
            else:
                family = GaugeMetricFamily(PREFIX + name, spec.help, labels=spec.labels)
            for labels, value in series.items():
                family.add_metric(labels, value)
            yield family


def _bounded(spec: MetricSpec, labels: tuple[str, ...], tenants: set[str]) -> tuple[str, ...]:
    if len(labels) != len(spec.labels):
        raise ValueError(f"expected labels {spec.labels}, got {labels}")
    short = tuple(label[:LABEL_CHARS_MAX] for label in labels)
    if "tenant" not in spec.labels:
        return short
    place = spec.labels.index("tenant")
    tenant = short[place]
    if tenant not in tenants and len(tenants) >= TENANTS_MAX:
        tenant = OTHER
    else:
        tenants.add(tenant)
    return (*short[:place], tenant, *short[place + 1 :])
