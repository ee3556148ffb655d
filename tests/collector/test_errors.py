import inspect

import pytest

from collector import errors
from collector.errors import AccessDenied, AdmitRefused, CollectorError, Denial
from proto.errors import RejectReason
from runtime.errors import Fault

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, CollectorError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_answers_whether_to_try_again_and_whose_fault_it_is(
    kind: type[CollectorError],
) -> None:
    assert isinstance(kind.retryable, bool)
    assert isinstance(kind.fault, Fault)
    assert kind.exit_code in {1, 4, 5, 6}
    assert kind.__name__ in (errors.__doc__ or "")


def test_an_error_with_a_reason_keeps_it_and_its_hint() -> None:
    denied = AccessDenied(Denial.QUOTA, "too many", hint="wait")
    refused = AdmitRefused(RejectReason.PROOF, "no")

    assert (denied.denial, str(denied)) == (Denial.QUOTA, "too many (wait)")
    assert (refused.reason, refused.fault) == (RejectReason.PROOF, Fault.PEER)
