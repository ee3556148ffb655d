import pytest

from collector.errors import CollectorError
from collector.issuer.errors import IssuerBusy, IssuerRefused, IssuerUnready, Refusal
from runtime.errors import Fault


@pytest.mark.parametrize("reason", list(Refusal))
def test_a_refusal_ends_a_command_with_exit_code_6_and_says_why(reason: Refusal) -> None:
    error = IssuerRefused(reason, "no")

    assert isinstance(error, CollectorError)
    assert (error.exit_code, error.fault, error.retryable) == (6, Fault.PEER, False)
    assert error.reason is reason
    assert reason.value.isidentifier()


def test_a_busy_issuer_says_when_to_come_back() -> None:
    error = IssuerBusy("full", retry_after_s=3)

    assert error.retryable
    assert error.retry_after_s == 3


def test_an_issuer_that_is_not_ready_is_the_operators_business() -> None:
    error = IssuerUnready("no key")

    assert error.retryable
    assert error.fault is Fault.OPERATOR
