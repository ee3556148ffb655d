import pytest

from agent import errors
from runtime.errors import VedetteError


@pytest.mark.parametrize("name", [n for n in vars(errors) if n.endswith(("Error", "ed", "Full"))])
def test_every_error_answers_whether_to_retry_and_whose_fault_it_is(name: str) -> None:
    kind = getattr(errors, name)

    assert issubclass(kind, VedetteError)
    assert isinstance(kind("x").retryable, bool)
    assert kind("x", hint="do").fault is not None


def test_only_what_may_be_retried_says_so() -> None:
    assert errors.OutboxFull.retryable
    assert errors.OutboxFailed.retryable
    assert errors.Unreachable.retryable
    assert not errors.SegmentDamaged.retryable
    assert not errors.DoorError.retryable
