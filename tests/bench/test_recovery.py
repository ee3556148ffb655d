import pytest

from bench import recovery
from collector.roles import ROLES
from tests.bench.shape import checked


def test_every_process_that_matters_is_among_the_victims() -> None:
    assert set(recovery.VICTIMS) == {"sense", "ship", *ROLES}


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_receipts_flow_again_after_each_process_was_killed() -> None:
    metrics = checked("recovery", recovery.measure(1, calm_s=0.5))

    assert metrics["kills"] == len(recovery.VICTIMS)
    assert 0 < metrics["recovery_median_seconds"] <= metrics["recovery_p99_seconds"]
    assert metrics["recovery_p99_seconds"] < recovery.RECOVERY_S_MAX
