from agent.sense.ports import SensorHealth
from agent.sense.tally import Tally
from agent.ship.metrics import METRICS
from proto.model import Drop, DropReason, HealthState
from tests.agent.sense.builders import Host, a_batch
from tests.proto.builders import a_finding, an_observation


def test_every_value_has_a_place_in_the_table_and_no_label_names_a_host() -> None:
    tally = Tally()
    tally.observed(an_observation())
    tally.found(a_finding())
    tally.refused(Drop(reason=DropReason.OVERFLOW))
    tally.spent("files", 250_000_000)
    tally.spent("files", 250_000_000)
    tally.stored([a_batch(Host().sealer())])
    health = SensorHealth(HealthState.OK, "poll", "", 5_000_000_000, 2)

    samples = tally.samples(3, 4096, 7_000_000_000, {"files": health})

    assert {sample.name for sample in samples} <= METRICS.keys()
    labels = {name for sample in samples for name, _ in sample.labels}
    assert labels == {"sensor", "state", "kind", "severity", "priority"}
    values = {(s.name, s.labels): s.value for s in samples}
    assert values["vedette_agent_outbox_batches", ()] == 3
    assert (
        values["vedette_agent_sensor_last_success_timestamp_seconds", (("sensor", "files"),)] == 5
    )
    assert values["vedette_sensor_last_success_age_seconds", (("sensor", "files"),)] == 2
    assert values["vedette_sensor_cpu_seconds_total", (("sensor", "files"),)] == 0.5


def test_a_sensor_that_never_collected_has_no_age() -> None:
    health = SensorHealth(HealthState.BLIND, "none", "not started", 0, 0)

    samples = Tally().samples(0, 0, 7, {"files": health})

    assert "vedette_sensor_last_success_age_seconds" not in {sample.name for sample in samples}
