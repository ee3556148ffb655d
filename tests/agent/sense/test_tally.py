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
    tally.stored([a_batch(Host().sealer())])
    health = SensorHealth(HealthState.OK, "poll", "", 5_000_000_000, 2)

    samples = tally.samples(3, 4096, {"files": health})

    assert {sample.name for sample in samples} <= METRICS.keys()
    labels = {name for sample in samples for name, _ in sample.labels}
    assert labels == {"sensor", "state", "kind", "severity", "priority"}
    values = {(s.name, s.labels): s.value for s in samples}
    assert values["vedette_agent_outbox_batches", ()] == 3
    assert (
        values["vedette_agent_sensor_last_success_timestamp_seconds", (("sensor", "files"),)] == 5
    )
