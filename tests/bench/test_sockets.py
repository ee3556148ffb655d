import pytest

from bench import sockets
from bench.report import BenchFailed
from tests.bench.shape import checked


def test_a_look_at_sockets_is_measured_beside_its_peer() -> None:
    figures = sockets.measure(40)

    metrics = checked("sockets", figures)
    assert metrics["sockets"] >= 40
    assert metrics["socket_snapshot_cpu_ms"] > 0
    assert figures.peers["psutil"]["snapshot_and_holders_cpu_ms"] > 0


def test_sockets_that_cannot_be_opened_are_a_failure() -> None:
    with pytest.raises(BenchFailed):
        sockets.measure(1 << 30)
