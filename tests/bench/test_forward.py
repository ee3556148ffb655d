from bench import forward
from collector.forward.select import select
from collector.forward.settings import Filter
from tests.bench.shape import checked


def test_forwarding_is_measured_beside_one_event_a_request() -> None:
    figures = forward.measure(600)

    metrics = checked("forward", figures)
    peer = figures.peers["one_event_a_request"]
    assert metrics["hec_findings_per_core_second"] > peer["hec_findings_per_core_second"]
    assert 0 < metrics["latency_p50_seconds"] <= metrics["latency_p99_seconds"]
    assert 500 < metrics["hec_bytes_per_event"] < 5000


def test_every_finding_of_the_input_is_forwarded_under_an_id_of_its_own() -> None:
    batches = forward.admitted(700, 256)

    events = [event for batch in batches for event in select(batch, Filter())]

    assert [len(batch.records) for batch in batches] == [256, 256, 188]
    assert len({event.uid for event in events}) == 700
