from collector import errors
from collector.errors import (
    AccessDenied,
    AdmitRefused,
    CollectorError,
    Denial,
    IssuerUnavailable,
    LedgerBusy,
    LedgerCorrupt,
    LedgerForeign,
    LedgerUnavailable,
    NotLogged,
    TooFarAhead,
)
from proto.errors import RejectReason
from runtime.errors import Fault


def all_kinds(of: type[CollectorError] = CollectorError) -> set[type[CollectorError]]:
    below = {kind for kind in of.__subclasses__() if kind.__module__ == errors.__name__}
    return below.union(*(all_kinds(kind) for kind in below))


def test_the_tree_in_the_essay_names_every_error() -> None:
    essay = errors.__doc__ or ""

    missing = [kind.__name__ for kind in all_kinds() if f" {kind.__name__} " not in f" {essay} "]

    assert [name for name in missing if f"{name}\n" not in essay] == []


def test_what_may_pass_by_itself_may_be_tried_again_and_nothing_else() -> None:
    retryable = {kind for kind in all_kinds() if kind.retryable}

    assert retryable == {LedgerUnavailable, LedgerBusy, TooFarAhead, NotLogged, IssuerUnavailable}


def test_an_agent_is_never_blamed_for_our_disk_nor_we_for_its_batch() -> None:
    assert LedgerUnavailable.fault is LedgerCorrupt.fault is Fault.HOST
    assert AdmitRefused.fault is TooFarAhead.fault is AccessDenied.fault is Fault.PEER


def test_scripts_can_tell_what_to_do_by_the_exit_code() -> None:
    assert IssuerUnavailable.exit_code == 5
    assert AccessDenied.exit_code == 6
    assert LedgerForeign.exit_code == 4


def test_a_refusal_carries_its_reason_as_a_name_of_a_closed_set() -> None:
    refused = AdmitRefused(RejectReason.PROOF, "another root")
    denied = AccessDenied(Denial.REVOKED, "no", hint="enrol again")

    assert (refused.reason, str(refused)) == (RejectReason.PROOF, "another root")
    assert (denied.denial, denied.hint) == (Denial.REVOKED, "enrol again")
    assert all(reason.value == reason.name.lower() for reason in Denial)
