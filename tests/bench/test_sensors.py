import os

import pytest

from bench import sensors
from bench.report import BenchFailed
from tests.bench.shape import checked


@pytest.mark.root
def test_every_program_that_is_started_is_seen_and_what_is_known_of_it_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sensors, "PER_SECOND", 100)
    monkeypatch.setattr(sensors, "SETTLE_S", 1)
    try:
        figures = sensors.measure(1)
    except BenchFailed as error:
        pytest.skip(error.message)

    metrics = checked("sensors", figures)

    assert metrics["execs_seen_percent"] == 100
    assert metrics["parent_known_percent"] == 100
    assert metrics["exec_cpu_percent"] > 0
    assert metrics["undeclared_losses"] == 0
    if os.geteuid() == 0 and "fanotify_hash_known_percent" in metrics:
        assert metrics["fanotify_hash_known_percent"] == 100
