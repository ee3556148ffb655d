import pytest

from bench import ingest
from tests.bench.shape import checked


@pytest.mark.slow
def test_ingest_is_measured_through_a_real_gateway_in_another_process() -> None:
    figures = ingest.measure(16)

    metrics = checked("ingest", figures)
    assert {"findings_per_core_second", "durable_ack_p99_ms", "ledger_bytes_per_finding"} <= set(
        metrics
    )
    assert metrics["durable_ack_p50_ms"] <= metrics["durable_ack_p99_ms"]
    assert 20 < metrics["ledger_bytes_per_finding"] < metrics["raw_bytes_per_finding"] * 2
