"""Logins are read from what sshd and PAM wrote, and never from what a user typed."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.logintext import ACCEPTED, FAILED, LoginText, login_of, sudoer_of

ATTACKER = "203.0.113.9"
TOO_MANY = "error: maximum authentication attempts exceeded for"
TWICE = "message repeated 2 times: ["


def sshd(message: str) -> LoginText | None:
    return login_of("sshd", message)


@pytest.mark.parametrize(
    ("message", "user", "method", "outcome"),
    [
        ("Failed password for root from 203.0.113.9 port 22 ssh2", "root", "password", FAILED),
        (
            "Failed password for invalid user admin from 203.0.113.9 port 22 ssh2",
            "admin",
            "password",
            FAILED,
        ),
        ("Accepted password for bob from 203.0.113.9 port 22 ssh2", "bob", "password", ACCEPTED),
        (
            "Accepted publickey for bob from 203.0.113.9 port 22 ssh2: ED25519 SHA256:x",
            "bob",
            "publickey",
            ACCEPTED,
        ),
        (
            "Accepted keyboard-interactive/pam for bob from 203.0.113.9 port 22 ssh2",
            "bob",
            "keyboard-interactive/pam",
            ACCEPTED,
        ),
        (
            "Failed publickey for bob from 203.0.113.9 port 22 ssh2: RSA SHA256:x",
            "bob",
            "publickey",
            FAILED,
        ),
    ],
)
def test_an_attempt_names_user_method_and_origin(
    message: str, user: str, method: str, outcome: str
) -> None:
    assert sshd(message) == LoginText("sshd", outcome, user, None, method, ATTACKER, 22)


@pytest.mark.parametrize(
    "message",
    [
        "Connection closed by authenticating user bob 203.0.113.9 port 22 [preauth]",
        "Connection reset by authenticating user bob 203.0.113.9 port 22 [preauth]",
        "Connection closed by invalid user bob 203.0.113.9 port 22 [preauth]",
        "Disconnected from authenticating user bob 203.0.113.9 port 22 [preauth]",
        "Disconnected from invalid user bob 203.0.113.9 port 22 [preauth]",
        f"{TOO_MANY} bob from 203.0.113.9 port 22 ssh2 [preauth]",
        f"{TOO_MANY} invalid user bob from 203.0.113.9 port 22 ssh2 [preauth]",
    ],
)
def test_a_connection_that_ends_before_a_login_is_a_failure_without_a_method(message: str) -> None:
    assert sshd(message) == LoginText("sshd", FAILED, "bob", address=ATTACKER, port=22, is_end=True)


@pytest.mark.parametrize(
    "typed",
    [
        "root from 198.51.100.1 port 22 ssh2",
        "x from 198.51.100.1 port 22 ssh2: RSA SHA256:y",
        "root from 198.51.100.1 port 22 ssh2 from",
        " from 198.51.100.1 port 22 ssh2 ",
        "invalid user root from 198.51.100.1",
        "root 198.51.100.1 port 22 [preauth]",
        "message repeated 9 times: [ Failed password for root from 198.51.100.1 port 1 ssh2]",
        "pam_unix(su:auth): authentication failure; rhost=198.51.100.1",
        "",
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "Failed password for invalid user {} from 203.0.113.9 port 4711 ssh2",
        "Connection closed by invalid user {} 203.0.113.9 port 4711 [preauth]",
        "Disconnected from invalid user {} 203.0.113.9 port 4711 [preauth]",
        f"{TWICE} Failed password for invalid user {{}} from 203.0.113.9 port 4711 ssh2]",
    ],
)
def test_no_user_name_forges_an_address_or_an_outcome(typed: str, line: str) -> None:
    login = sshd(line.format(typed))

    assert login is not None
    assert (login.address, login.port, login.outcome) == (ATTACKER, 4711, FAILED)
    assert login.user == typed


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n"), max_size=80))
def test_no_text_in_a_user_name_forges_an_address(typed: str) -> None:
    login = sshd(f"Failed password for invalid user {typed} from 203.0.113.9 port 4711 ssh2")

    assert login is not None
    assert (login.user, login.address, login.port) == (typed, ATTACKER, 4711)


def test_the_key_id_of_a_certificate_forges_nothing() -> None:
    login = sshd(
        "Failed publickey for bob from 203.0.113.9 port 4711 ssh2: RSA-CERT SHA256:x ID me from"
        " 198.51.100.1 port 22 ssh2 (serial 0) CA RSA SHA256:y"
    )

    assert login is not None
    assert (login.user, login.address, login.port) == ("bob", ATTACKER, 4711)


def test_an_account_with_a_space_in_its_name_is_read_whole() -> None:
    login = sshd("Accepted password for CORP\\jane doe from 203.0.113.9 port 5 ssh2")

    assert login is not None
    assert (login.user, login.address) == ("CORP\\jane doe", ATTACKER)


@pytest.mark.parametrize(
    "message",
    [
        "Failed password for invalid user x from UNKNOWN port 65535 ssh2",
        "Failed password for invalid user x from 999.1.1.1 port 22 ssh2",
        "Failed password for invalid user x from 203.0.113.9 port 22 ssh2 trailing",
        "Failed password for root from UNKNOWN port 65535 ssh2",
    ],
)
def test_an_origin_that_is_no_address_is_said_to_be_none(message: str) -> None:
    login = sshd(message)

    assert login is not None
    assert (login.outcome, login.address) == (FAILED, "")


def test_an_address_has_one_spelling_and_a_port_its_range() -> None:
    login = sshd("Failed password for root from 2001:DB8:0:0::1 port 99999 ssh2")

    assert login is not None
    assert (login.address, login.port) == ("2001:db8::1", None)


@pytest.mark.parametrize(
    "message",
    [
        "Failed none for invalid user x from 203.0.113.9 port 22 ssh2",
        "Invalid user x from 203.0.113.9 port 22",
        "Partial publickey for bob from 203.0.113.9 port 22 ssh2",
        "Postponed keyboard-interactive for bob from 203.0.113.9 port 22 ssh2",
        "Disconnected from user bob 203.0.113.9 port 22",
        "Connection closed by 203.0.113.9 port 22 [preauth]",
        "Received disconnect from 203.0.113.9 port 22:11: Bye Bye [preauth]",
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=1",
        "pam_unix(sshd:session): session opened for user bob(uid=1) by (uid=0)",
        "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
        "Failed",
        "Failed password",
        "Failed password for invalid user",
        "Accepted",
        "",
    ],
)
def test_what_another_line_tells_or_nothing_does_is_none(message: str) -> None:
    assert sshd(message) is None


def test_another_program_cannot_speak_for_sshd() -> None:
    message = "Failed password for root from 203.0.113.9 port 22 ssh2"

    assert login_of("evil", message) is None
    assert login_of("sshd-session", message) is not None


def test_a_failure_of_su_names_the_target_and_no_remote_side() -> None:
    login = login_of(
        "su",
        "pam_unix(su:auth): authentication failure; logname=bob uid=1000 euid=0 tty=/dev/pts/0"
        " ruser=bob rhost=  user=root",
    )

    assert login == LoginText("su", FAILED, "root", method="password", tty="/dev/pts/0")


def test_a_failure_of_another_service_names_its_remote_side() -> None:
    login = login_of(
        "vsftpd",
        "pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=x"
        " rhost=203.0.113.9",
    )

    assert login == LoginText(
        "vsftpd", FAILED, None, method="password", address=ATTACKER, tty="ftp"
    )


def test_a_user_name_that_imitates_pam_stays_a_user_name() -> None:
    typed = "x rhost=198.51.100.1  user=root"
    login = login_of(
        "login",
        "pam_unix(login:auth): authentication failure; logname=LOGIN uid=0 euid=0 tty=/dev/tty1"
        f" ruser= rhost=  user={typed}",
    )

    assert login is not None
    assert (login.user, login.address) == (typed, None)


@pytest.mark.parametrize(
    ("message", "service", "uid"),
    [
        (
            "pam_unix(sudo:session): session opened for user root(uid=0) by bob(uid=1000)",
            "sudo",
            0,
        ),
        ("pam_unix(su:session): session opened for user root by bob(uid=1000)", "su", None),
        (
            "pam_unix(login:session): session opened for user root(uid=0) by LOGIN(uid=0)",
            "login",
            0,
        ),
    ],
)
def test_a_session_opened_is_an_accepted_login(message: str, service: str, uid: int | None) -> None:
    assert login_of(service, message) == LoginText(service, ACCEPTED, "root", uid)


def test_equal_lines_summed_up_count_for_each_up_to_a_bound() -> None:
    line = "message repeated {} times: [ Failed password for root from 203.0.113.9 port 22 ssh2]"

    counts = [(sshd(line.format(n)) or LoginText("", "", "")).count for n in (0, 2, 999_999_999)]

    assert counts == [1, 2, 8]
    assert sshd(line.format(2).replace("[ ", "[ message repeated 2 times: [ ")) is None


@given(st.text(max_size=200), st.sampled_from(["sshd", "su", ""]))
def test_any_message_is_a_login_or_none(message: str, program: str) -> None:
    assert isinstance(login_of(program, message), LoginText | None)


@pytest.mark.parametrize(
    "start",
    [
        "Failed password for ",
        "Failed password for invalid user ",
        "Connection closed by invalid user ",
        "pam_unix(su:auth): authentication failure; logname=",
        "pam_unix(su:session): session opened for user ",
        "message repeated 2 times: [ Failed password for invalid user ",
    ],
)
@pytest.mark.parametrize("piece", [" from 1.1.1.1 port 1 ssh2", " from ", " ", "a", "message "])
def test_the_time_for_a_hostile_message_grows_with_its_length_alone(start: str, piece: str) -> None:
    message = start + piece * (64 * 1024 // len(piece))

    began = time.process_time()
    sshd(message)

    assert time.process_time() - began < 0.1


DIGEST = "SHA256:" + "A" * 43
OTHER = "SHA256:" + "B" * 43
ACCEPTED_KEY = "Accepted publickey for bob from 203.0.113.9 port 22 ssh2: "


@pytest.mark.parametrize(
    ("rest", "fingerprint"),
    [
        (f"ED25519 {DIGEST}", DIGEST),
        ("RSA MD5:" + ":".join(["0a"] * 16), "MD5:" + ":".join(["0a"] * 16)),
        (f"ED25519-CERT {DIGEST} ID bob (serial 7) CA ED25519 {OTHER}", OTHER),
        (f"ED25519-CERT {DIGEST} ID x CA RSA {DIGEST} (serial 7) CA ED25519 {OTHER}", OTHER),
        (f"ED25519 {DIGEST} and more", None),
        ("ED25519 SHA256:short", None),
        ("", None),
    ],
)
def test_a_key_that_was_taken_is_named_and_of_a_certificate_its_authority(
    rest: str, fingerprint: str | None
) -> None:
    login = sshd(ACCEPTED_KEY + rest)

    assert login is not None
    assert login.fingerprint == fingerprint


def test_a_key_that_was_refused_is_not_named() -> None:
    login = sshd(ACCEPTED_KEY.replace("Accepted", "Failed") + f"RSA {DIGEST}")

    assert login is not None
    assert login.fingerprint is None


@pytest.mark.parametrize(
    ("message", "user", "tty"),
    [
        ("    anna : TTY=pts/1 ; PWD=/home/anna ; USER=root ; COMMAND=/bin/ls", "anna", "pts/1"),
        ("anna : TTY=unknown ; PWD=/ ; USER=root ; COMMAND=list", "anna", None),
        ("anna : HOST=web ; TTY=pts/0 ; PWD=/ ; USER=bert ; COMMAND=/x", "anna", "pts/0"),
        ("anna : PWD=/tmp/ ; TTY=x ; USER=root ; COMMAND=/bin/ls", "anna", None),
    ],
)
def test_a_command_that_sudo_ran_names_its_user(message: str, user: str, tty: str | None) -> None:
    assert sudoer_of("sudo", message) == LoginText("sudo", ACCEPTED, user, method="sudo", tty=tty)


@pytest.mark.parametrize(
    "message",
    [
        "anna : command not allowed ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        "anna : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        "anna : 3 incorrect password attempts ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        "anna : a password is required ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        "pam_unix(sudo:session): session opened for user root(uid=0) by anna(uid=1000)",
        "",
    ],
)
def test_a_command_that_sudo_refused_names_nobody(message: str) -> None:
    assert sudoer_of("sudo", message) is None
    assert sudoer_of("other", "anna : TTY=pts/1 ; COMMAND=/bin/ls") is None


@given(st.text(max_size=300))
def test_any_text_of_sudo_is_a_user_or_none(text: str) -> None:
    for message in (text, f"{text} : TTY={text} ; COMMAND={text}"):
        found = sudoer_of("sudo", message)
        assert found is None or found.user
