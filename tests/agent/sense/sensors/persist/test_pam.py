"""PAM's files are told by their digest, and a rule that loads the unusual by itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.pam import read, unusual_rules
from tests.agent.sense.sensors.persist.looking import a_content, found_by, put, said


@pytest.mark.parametrize(
    "rule",
    [
        b"auth optional pam_exec.so quiet expose_authtok /tmp/x",
        b"-session [success=1 default=ignore] pam_evil.so",
        b"auth sufficient /tmp/pam_unix.so",
        b"AUTH required evil.so",
        b"auth required \\\npam_exec.so",
    ],
)
def test_a_rule_that_runs_or_loads_the_unusual_is_told(rule: bytes) -> None:
    assert len(list(unusual_rules(a_content(rule), 0))) == 1


@pytest.mark.parametrize(
    "rule",
    [
        b"auth required pam_unix.so nullok",
        b"@include common-auth",
        b"auth include system-auth",
        b"# auth required pam_exec.so",
        b"auth substack x",
        b"",
        b"auth",
    ],
)
def test_an_ordinary_rule_is_none(rule: bytes) -> None:
    assert list(unusual_rules(a_content(rule), 0)) == []


def test_services_modules_and_the_single_file_are_told(tmp_path: Path) -> None:
    put(tmp_path, "/etc/pam.conf", "other auth optional pam_exec.so /tmp/x\n")
    put(tmp_path, "/etc/pam.d/sshd", "auth required pam_unix.so\n")
    put(tmp_path, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so", b"\x7fELF")
    put(tmp_path, "/usr/lib/x86_64-linux-gnu/security/readme", "no module")
    (tmp_path / "lib").symlink_to("usr/lib")

    assert [one[:2] for one in said(found_by(read, tmp_path))] == [
        ("pam_service", "pam.conf"),
        ("pam_rule", "pam.conf"),
        ("pam_service", "sshd"),
        ("pam_module", "pam_unix.so"),
    ]


@given(data=st.binary(max_size=300) | st.from_regex(rb"(auth|-session) (\[.{0,3}\]|x) .{0,9}\\?\n"))
def test_any_bytes_are_rules_or_none(data: bytes) -> None:
    for fields in (0, 1):
        assert all(rule for rule in unusual_rules(a_content(data), fields))
