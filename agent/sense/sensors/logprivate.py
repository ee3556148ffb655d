"""Which lines of a log may hold what somebody typed where a name was asked: at times a password.

They are read for logins, which keep the name where redaction finds it, and leave in no other form.
"""

from typing import Final

_PRIVATE: Final = frozenset(
    {
        "dropbear",
        "gdm-password",
        "kcheckpass",
        "lightdm",
        "login",
        "pkexec",
        "polkitd",
        "sddm",
        "sshd",
        "sshd-auth",
        "sshd-session",
        "su",
        "sudo",
        "systemd-logind",
        "vsftpd",
    }
)
# LOG_AUTH and LOG_AUTHPRIV of syslog(3).
_FACILITIES: Final = frozenset({b"4", b"10"})


def is_private(program: str, message: str, facility: bytes = b"") -> bool:
    """Tell whether a line may hold what somebody typed.

    Args:
        program: who wrote it.
        message: its text.
        facility: the number of its facility, where the log tells.
    """
    if program in _PRIVATE or facility in _FACILITIES:
        return True
    return "pam_" in message or "message repeated " in message
