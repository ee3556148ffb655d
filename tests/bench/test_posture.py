from bench import posture
from tests.bench.shape import checked


def test_a_pass_over_this_host_is_measured() -> None:
    metrics = checked("posture", posture.measure(2))

    assert metrics["checks"] >= 20
    assert metrics["wall_seconds"] > 0
    assert metrics["cpu_seconds"] > 0
