"""Every answer of the console that is a failure has its status."""

import pytest

from collector.console.errors import (
    BadRequest,
    ConsoleError,
    Misdirected,
    NotAllowed,
    NotThere,
    TooBusy,
)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(BadRequest, 400), (NotAllowed, 401), (NotThere, 404), (Misdirected, 421), (TooBusy, 503)],
)
def test_a_failure_has_the_status_of_its_kind(kind: type[ConsoleError], status: int) -> None:
    assert kind("x").status == status
    assert kind("x").retryable == (status == 503)
