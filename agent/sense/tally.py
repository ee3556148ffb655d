"""Counts of what the privileged half has done, as metric samples.

Names and meaning are the table `METRICS`; the networked half serves them. No label ever holds an
agent, a finding, an address or a path.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from agent.doorframes import Sample
from agent.sense.ports import SensorHealth
from agent.sense.seal import SealedBatch
from proto.model import Finding, HealthState, Observation, Record
from runtime.clock import NS_PER_S

_STATES = (HealthState.OK, HealthState.DEGRADED, HealthState.BLIND)


class Tally:
    """Counters since the daemon started."""

    def __init__(self) -> None:
        self._observed: Counter[str] = Counter()
        self._found: Counter[tuple[str, str]] = Counter()
        self._spent_ns: Counter[str] = Counter()
        self._refused = 0
        self._batches: Counter[str] = Counter()
        self._records = 0
        self.receipted = 0
        self.store_failures = 0
        self.suppressed = 0

    def observed(self, observation: Observation) -> None:
        """Count an observation by its sensor."""
        self._observed[observation.source.sensor] += 1

    def found(self, finding: Finding) -> None:
        """Count a finding by kind and severity."""
        self._found[finding.kind.value, finding.severity.value] += 1

    def spent(self, sensor: str, cpu_ns: int) -> None:
        """Count CPU time taken to read a source."""
        self._spent_ns[sensor] += cpu_ns

    def refused(self, record: Record) -> None:
        """Count a record that did not fit the wire."""
        del record
        self._refused += 1

    def stored(self, batches: Sequence[SealedBatch]) -> None:
        """Count batches that became durable."""
        for batch in batches:
            self._batches[batch.priority.value] += 1
            self._records += batch.records

    def samples(
        self, owed: int, outbox_bytes: int, now: int, sensors: Mapping[str, SensorHealth]
    ) -> tuple[Sample, ...]:
        """Return all values.

        Args:
            owed: batches without a receipt.
            outbox_bytes: disk in use.
            now: nanoseconds UTC.
            sensors: the health of each.
        """
        found = [
            Sample("vedette_agent_findings_total", (("kind", kind), ("severity", severity)), n)
            for (kind, severity), n in self._found.items()
        ]
        observed = [
            Sample("vedette_agent_observations_total", (("sensor", name),), n)
            for name, n in self._observed.items()
        ]
        batches = [
            Sample("vedette_agent_batches_sealed_total", (("priority", name),), n)
            for name, n in self._batches.items()
        ]
        health = [
            sample for name, item in sensors.items() for sample in _health_samples(name, item, now)
        ]
        cost = [
            Sample("vedette_sensor_cpu_seconds_total", (("sensor", name),), ns / NS_PER_S)
            for name, ns in self._spent_ns.items()
        ]
        return (
            *found,
            *observed,
            *batches,
            *health,
            *cost,
            Sample("vedette_agent_records_sealed_total", (), self._records),
            Sample("vedette_agent_records_refused_total", (), self._refused),
            Sample("vedette_agent_batches_receipted_total", (), self.receipted),
            Sample("vedette_agent_store_failures_total", (), self.store_failures),
            Sample("vedette_agent_findings_suppressed_total", (), self.suppressed),
            Sample("vedette_agent_outbox_batches", (), owed),
            Sample("vedette_agent_outbox_bytes", (), outbox_bytes),
        )


def _health_samples(name: str, health: SensorHealth, now: int) -> list[Sample]:
    states = [
        Sample(
            "vedette_agent_sensor_state",
            (("sensor", name), ("state", state.value)),
            float(health.state is state),
        )
        for state in _STATES
    ]
    age_s = max(0, now - health.last_success) / NS_PER_S
    aged = [Sample("vedette_sensor_last_success_age_seconds", (("sensor", name),), age_s)]
    return [
        *states,
        *(aged if health.last_success else ()),
        Sample(
            "vedette_agent_sensor_last_success_timestamp_seconds",
            (("sensor", name),),
            health.last_success / 1e9,
        ),
        Sample("vedette_agent_sensor_dropped_total", (("sensor", name),), health.dropped),
    ]
