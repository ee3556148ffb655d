import grpc
import pytest

from collector.errors import (
    AccessDenied,
    AdmitRefused,
    Denial,
    IssuerUnavailable,
    LedgerUnavailable,
    NotLogged,
)
from collector.feeds.errors import NoSuchContent
from collector.gateway.statuses import OF_DENIAL, status_of
from collector.issuer.errors import IssuerBusy, IssuerRefused, IssuerUnready, Refusal
from proto.content.errors import BadName
from proto.errors import Malformed, RejectReason, TooLarge
from runtime.errors import VedetteError

Code = grpc.StatusCode
CASES = {
    AccessDenied(Denial.REVOKED, "no"): Code.PERMISSION_DENIED,
    AccessDenied(Denial.QUOTA, "no"): Code.RESOURCE_EXHAUSTED,
    TooLarge("no"): Code.RESOURCE_EXHAUSTED,
    Malformed("no"): Code.INVALID_ARGUMENT,
    BadName("no"): Code.INVALID_ARGUMENT,
    NoSuchContent("no"): Code.NOT_FOUND,
    NotLogged("no"): Code.NOT_FOUND,
    IssuerRefused(Refusal.TOKEN, "no"): Code.PERMISSION_DENIED,
    IssuerRefused(Refusal.MALFORMED, "no"): Code.INVALID_ARGUMENT,
    IssuerBusy("no"): Code.RESOURCE_EXHAUSTED,
    IssuerUnready("no"): Code.UNAVAILABLE,
    IssuerUnavailable("no"): Code.UNAVAILABLE,
    LedgerUnavailable("no"): Code.UNAVAILABLE,
    AdmitRefused(RejectReason.PROOF, "no"): Code.INTERNAL,
}


@pytest.mark.parametrize(
    ("error", "code"), CASES.items(), ids=[str(number) for number in range(len(CASES))]
)
def test_an_error_has_the_status_that_tells_the_peer_what_to_do(
    error: VedetteError, code: grpc.StatusCode
) -> None:
    assert status_of(error)[0] is code


def test_every_denial_has_a_status() -> None:
    assert OF_DENIAL.keys() == set(Denial)


def test_what_is_our_own_trouble_is_told_without_a_path_or_a_cause() -> None:
    _, told = status_of(LedgerUnavailable("/var/lib/secret/ledger.db: disk I/O error"))

    assert "secret" not in told
    assert "hint" in status_of(AccessDenied(Denial.QUOTA, "no", hint="hint"))[1]
