"""What people type where a name is asked stays where redaction finds it."""

import pytest

from agent.sense.sensors.logprivate import is_private


@pytest.mark.parametrize(
    ("program", "message", "facility"),
    [
        ("sshd", "x", b""),
        ("sshd-session", "x", b""),
        ("cron", "pam_unix(cron:session): x", b""),
        ("x", "message repeated 2 times: [ x]", b""),
        ("x", "x", b"4"),
        ("x", "x", b"10"),
    ],
)
def test_private_lines_are_known_by_who_or_what_they_are(
    program: str, message: str, facility: bytes
) -> None:
    assert is_private(program, message, facility)


@pytest.mark.parametrize("facility", [b"", b"3", b"9", b"junk"])
def test_any_other_line_is_not_private(facility: bytes) -> None:
    assert not is_private("cron", "job 1", facility)
