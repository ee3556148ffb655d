import pytest

from certs import errors
from runtime.errors import Fault, VedetteError

REFUSALS = (errors.RequestRefused, errors.TokenRefused, errors.TrustRefused)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_identity_ends_a_command_with_exit_code_6(kind: type[errors.CertError]) -> None:
    error = kind("no", hint="ask the operator")

    assert isinstance(error, VedetteError)
    assert (error.exit_code, error.fault, error.retryable) == (6, Fault.PEER, False)
    assert str(error) == "no (ask the operator)"


@pytest.mark.parametrize("reason", list(errors.IdentityReason))
def test_a_refused_identity_says_which_rule_it_broke(reason: errors.IdentityReason) -> None:
    error = errors.IdentityRefused(reason, "odd")

    assert error.reason is reason
    assert error.exit_code == 6
    assert reason.value.isidentifier()


@pytest.mark.parametrize("kind", [errors.KeyUnusable, errors.AuthorityUnusable])
def test_a_key_that_is_no_good_is_the_operators_business(kind: type[errors.CertError]) -> None:
    assert kind("no").fault is Fault.OPERATOR


def test_a_bad_signature_is_the_peers_fault_and_stays_bad() -> None:
    error = errors.BadSignature("no")

    assert (error.fault, error.retryable) == (Fault.PEER, False)
