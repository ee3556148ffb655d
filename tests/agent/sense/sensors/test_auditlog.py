"""Audit records tell logins and accounts, and never what somebody typed."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.auditlog import AccountText, AuditLine, is_plain, parse
from agent.sense.sensors.logintext import ACCEPTED, FAILED, LoginText
from proto.model import ObservationKind, User

AT = 1_700_000_000_123_000_000


def line(
    kind: str, inner: str, *, outer: str = "pid=1 uid=0 auid=1000 ses=2", after: str = ""
) -> bytes:
    return f"type={kind} msg=audit(1700000000.123:45): {outer} msg='{inner}'{after}".encode()


def means(kind: str, inner: str, after: str = "") -> object:
    found = parse(line(kind, inner, after=after))
    assert found is not None
    assert (found.kind, found.wall_ns) == (kind, AT)
    return found.means


SSH = 'exe="/usr/sbin/sshd" hostname=? addr=203.0.113.9 terminal=ssh'


def test_a_failed_password_is_a_failure() -> None:
    assert means("USER_AUTH", f'op=PAM:authentication grantors=? acct="anna" {SSH} res=failed') == (
        LoginText("sshd", FAILED, "anna", method="password", address="203.0.113.9")
    )


def test_a_login_is_told_once_and_a_failed_one_by_its_password_alone() -> None:
    assert means("USER_LOGIN", f"op=login id=1000 {SSH} res=success", '\x1dID="anna"') == (
        LoginText("sshd", ACCEPTED, "anna", uid=1000, address="203.0.113.9")
    )
    assert means("USER_LOGIN", f'op=login acct="anna" {SSH} res=failed') is None
    assert means("USER_AUTH", f'op=PAM:authentication acct="anna" {SSH} res=success') is None


def test_a_key_that_was_only_offered_is_no_failure() -> None:
    assert means("USER_AUTH", f'op=pubkey acct="anna" {SSH} res=failed') is None


def test_sessions_of_su_and_sudo_are_logins_and_others_are_not() -> None:
    end = "hostname=? addr=? terminal=/dev/pts/0 res=success"
    su = f'op=PAM:session_open grantors=pam_unix acct="root" exe="/usr/bin/su" {end}'

    assert means("USER_START", su) == LoginText("su", ACCEPTED, "root", tty="pts/0")
    assert means("USER_START", su.replace("/su", "/crond")) is None
    assert means("USER_START", su.replace("success", "failed")) is None


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ADD_USER", ObservationKind.ACCOUNT_ADDED),
        ("DEL_USER", ObservationKind.ACCOUNT_REMOVED),
        ("USER_MGMT", ObservationKind.ACCOUNT_CHANGED),
        ("USER_CHAUTHTOK", ObservationKind.ACCOUNT_CHANGED),
    ],
)
def test_an_account_that_was_changed_is_named(kind: str, told: ObservationKind) -> None:
    end = 'exe="/usr/sbin/useradd" hostname=? addr=? terminal=pts/0 res=success'

    assert means(kind, f'op=add-user acct="anna" {end}') == AccountText(told, User(name="anna"))
    assert means(kind, f"op=add-user id=1001 {end}", '\x1dID="anna"') == AccountText(
        told, User(uid=1001, name="anna")
    )
    assert means(kind, f'op=add-user acct="anna" {end}'.replace("success", "failed")) is None
    assert means(kind, f"op=add-user {end}") is None


def test_a_user_of_sudo_is_who_logged_in() -> None:
    inner = 'cwd="/" cmd=6964 exe="/usr/bin/sudo" terminal=pts/0 res=success'

    named = parse(line("USER_CMD", inner, after='\x1dUID="root" AUID="anna"'))
    numbered = parse(line("USER_CMD", inner, outer="pid=1 uid=33 auid=4294967295"))
    refused = parse(line("USER_CMD", inner.replace("success", "failed")))

    assert named is not None
    assert named.sudoer == LoginText("sudo", ACCEPTED, "anna", uid=1000, method="sudo")
    assert numbered is not None
    assert numbered.sudoer == LoginText("sudo", ACCEPTED, None, uid=33, method="sudo")
    assert refused is not None
    assert refused.sudoer is None


def test_a_name_that_a_stranger_chose_is_no_other_field() -> None:
    typed = "x res=success addr=192.0.2.1 '"
    hexed = binascii.hexlify(typed.encode()).decode().upper()

    assert means("USER_AUTH", f"op=PAM:authentication acct={hexed} {SSH} res=failed") == (
        LoginText("sshd", FAILED, typed, method="password", address="203.0.113.9")
    )


def test_an_address_that_is_none_was_not_collected() -> None:
    inner = f'op=password acct="anna" {SSH} res=failed'.replace("203.0.113.9", "UNKNOWN")
    found = means("USER_AUTH", inner)

    assert isinstance(found, LoginText)
    assert found.address == ""


def test_a_record_of_the_kernel_has_no_meaning_here() -> None:
    raw = b'node=web type=AVC msg=audit(1700000000.123:45): avc:  denied  { read } comm="x"'

    assert parse(raw) == AuditLine("AVC", AT, b'avc:  denied  { read } comm="x"')


@pytest.mark.parametrize(
    "raw", [b"", b"type=AVC", b"type=AVC msg=audit(1:2): x", b"Nov 22 10:00:00 web sshd[1]: x"]
)
def test_what_is_no_audit_line_is_none(raw: bytes) -> None:
    assert parse(raw) is None


@pytest.mark.parametrize(
    "kind", ["USER_AUTH", "USER_LOGIN", "EXECVE", "PROCTITLE", "USER_CMD", "USER_TTY", "TTY", ""]
)
def test_records_that_may_hold_what_was_typed_are_not_passed_on(kind: str) -> None:
    assert not is_plain(kind)
    assert is_plain("AVC")
    assert is_plain("ANOM_PROMISCUOUS")


@given(st.binary(max_size=300), st.sampled_from(["USER_AUTH", "USER_CMD", "ADD_USER", "AVC"]))
def test_any_bytes_are_a_line_or_none(junk: bytes, kind: str) -> None:
    head = f"type={kind} msg=audit(1700000000.123:45): ".encode()
    for raw in (junk, head + junk, head + b"x msg='" + junk + b"'" + junk):
        found = parse(raw)
        assert found is None or found.kind


@given(st.text(min_size=1, max_size=40))
def test_any_name_is_read_back(name: str) -> None:
    hexed = binascii.hexlify(name.encode()).decode()
    found = means("USER_AUTH", f"op=password acct={hexed} {SSH} res=failed")

    assert isinstance(found, LoginText)
    assert found.user == name
