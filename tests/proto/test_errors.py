"""The laws of the wire errors."""

import pytest

from proto import errors
from runtime.errors import Fault, VedetteError

PLAIN = (
    errors.Malformed,
    errors.TooLarge,
    errors.ProofRejected,
    errors.CheckpointRejected,
)


@pytest.mark.parametrize("kind", PLAIN)
def test_every_wire_error_blames_the_peer_and_is_never_retried(
    kind: type[errors.WireError],
) -> None:
    error = kind("it is wrong", hint="look at it")

    assert isinstance(error, VedetteError)
    assert error.fault is Fault.PEER
    assert not error.retryable
    assert str(error) == "it is wrong (look at it)"


def test_the_plain_errors_have_each_a_reason_of_their_own() -> None:
    reasons = {kind("wrong").reason for kind in PLAIN}

    assert len(reasons) == len(PLAIN)


@pytest.mark.parametrize("reason", list(errors.RejectReason))
def test_a_rejected_envelope_carries_the_reason_it_was_given(reason: errors.RejectReason) -> None:
    error = errors.EnvelopeRejected(reason, "not to be trusted")

    assert error.reason is reason
    assert error.fault is Fault.PEER
    assert not error.retryable


def test_the_names_of_the_reasons_are_safe_as_metric_labels() -> None:
    for reason in errors.RejectReason:
        assert reason.value.isidentifier()
        assert reason.value == reason.name.lower()
