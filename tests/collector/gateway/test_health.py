import pytest

from collector.errors import NoSuchService
from collector.gateway.health import HealthService


def ask(service: str) -> bytes:
    name = service.encode()
    return b"\n" + bytes([len(name)]) + name if name else b""


@pytest.mark.parametrize("service", ["", "vedette.v1.Intake"])
def test_a_service_is_healthy_when_a_batch_can_be_kept(service: str) -> None:
    states = [True, False]
    health = HealthService(frozenset({"vedette.v1.Intake"}), lambda: states.pop(0))

    assert [health.check(ask(service)) for _ in range(2)] == [b"\x08\x01", b"\x08\x02"]


def test_the_health_of_what_is_not_served_here_is_not_told() -> None:
    health = HealthService(frozenset({"vedette.v1.Intake"}), lambda: True)

    with pytest.raises(NoSuchService):
        health.check(ask("vedette.v1.Enrollment"))
