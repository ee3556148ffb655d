"""What sshd and PAM say of logins, and nothing that an attacker says through them. Pure.

A user name that no account has is the attacker's own text, spaces and all, and it stands before
the address. So where the user is invalid the line is read from the right, where sshd wrote last;
where the account exists the name is harmless and what follows the port (a certificate's key id)
is not, so the line is read from the left. Addresses must parse as such.

What cannot be told apart: any local user may write a line to syslog in sshd's name. And people
type passwords where a user name is asked: a failed login's user may be a secret, and is redacted
with the same care as any argument.

Source: auth_log() of OpenSSH auth.c, pam_unix(8) of Linux-PAM, sudoers(5) on its log format.
"""

import ipaddress
import re
from typing import Final

from msgspec import Struct, structs

ACCEPTED: Final = "accepted"
FAILED: Final = "failed"
REPEATS_MAX: Final = 8

_SSHD: Final = frozenset({"sshd", "sshd-session", "sshd-auth"})
# Sessions of sshd are told by sshd itself; those of cron and systemd are no logins of anyone.
_SESSION_SERVICES: Final = frozenset(
    {
        "gdm-password",
        "lightdm",
        "login",
        "remote",
        "sddm",
        "su",
        "su-l",
        "sudo",
        "sudo-i",
    }
)
_METHOD: Final = re.compile(r"[a-z][a-z0-9-]{1,63}(?:/[a-z0-9-]{1,64})?", re.ASCII)
_ORIGIN: Final = re.compile(
    r"(?P<address>[0-9A-Fa-f:.]{2,45}(?:%\w{1,32})?) port (?P<port>\d{1,5})", re.ASCII
)
_FROM_LEFT: Final = re.compile(
    rf" from {_ORIGIN.pattern}(?: ssh2)?(?:$|: | \[preauth\]$)", re.ASCII
)
_FROM_RIGHT: Final = re.compile(rf"{_ORIGIN.pattern}(?: ssh2)?(?: \[preauth\])?", re.ASCII)
_CLOSING: Final = re.compile(
    r"(?:Connection (?:closed|reset) by|Disconnected from) (?:authenticating|invalid) user ",
    re.ASCII,
)
_TOO_MANY: Final = "error: maximum authentication attempts exceeded for "
_REPEATED: Final = re.compile(r"message repeated (\d{1,9}) times: \[ (.*)\]", re.ASCII)
_PAM_FAILURE: Final = re.compile(
    r"pam_unix\((?P<service>[^:()\s]{1,64}):auth\): authentication failure;"
    r" logname=\S* uid=-?\d+ euid=-?\d+ tty=(?P<tty>\S*) ruser=\S* rhost=(?P<rhost>\S*)"
    r"(?:  user=(?P<user>.*))?",
    re.ASCII,
)
_PAM_SESSION: Final = re.compile(
    r"pam_unix\((?P<service>[^:()\s]{1,64}):session\): session opened for user"
    r" (?P<user>[^\s()]{1,256})(?:\(uid=(?P<uid>\d{1,10})\))? by [^()]{0,256}\(uid=\d{1,10}\)",
    re.ASCII,
)


_DIGEST: Final = r"(SHA256:[A-Za-z0-9+/]{43}|MD5:(?:[0-9a-f]{2}:){15}[0-9a-f]{2})"
_KEY: Final = re.compile(rf"[A-Z0-9-]{{2,32}} {_DIGEST}", re.ASCII)
# What a certificate's owner chose (its key id) stands before it.
_AUTHORITY: Final = re.compile(rf" CA [A-Z0-9-]{{2,32}} {_DIGEST}$", re.ASCII)
_SUDO: Final = re.compile(
    r" {0,32}(?P<user>[^\s:]{1,256}) : (?:HOST=[^ ;]{0,255} ; )?(?:TTY=(?P<tty>[^ ;]{0,64}) ; )?"
    r"(?:CHROOT|PWD|CWD|USER|GROUP|TSID|ENV|COMMAND)=",
    re.ASCII,
)


class LoginText(Struct, frozen=True):
    """One login, or one attempt, as a line tells it; None is what the line says there is none of.

    ``address`` is None without a remote side and empty where one is named that is no address.
    ``is_end`` marks the end of a connection on which failures may have been told already.
    ``fingerprint`` is of the key that was taken, of its authority's where it came in a certificate.
    """

    service: str
    outcome: str
    user: str | None
    uid: int | None = None
    method: str | None = None
    address: str | None = None
    port: int | None = None
    tty: str | None = None
    count: int = 1
    is_end: bool = False
    fingerprint: str | None = None


def login_of(program: str, message: str) -> LoginText | None:
    """Return the login that a message tells of, or None.

    Args:
        program: as the line names it.
        message: untrusted text.
    """
    if message.startswith("message repeated "):
        return _repeated(program, message)
    if message.startswith("pam_unix("):
        return _of_pam(message)
    return _of_sshd(message) if program in _SSHD else None


def _repeated(program: str, message: str) -> LoginText | None:
    """Read rsyslog's summary of equal lines; what it sums up may not be another summary."""
    found = _REPEATED.fullmatch(message)
    if found is None or found[2].startswith("message repeated "):
        return None
    login = login_of(program, found[2])
    if login is None:
        return None
    return structs.replace(login, count=min(max(int(found[1]), 1), REPEATS_MAX))


def _of_sshd(message: str) -> LoginText | None:
    if message.startswith(("Failed ", "Accepted ")):
        return _attempt(message)
    if found := _CLOSING.match(message):
        return _closing(message[found.end() :])
    if message.startswith(_TOO_MANY):
        return _too_many(message.removeprefix(_TOO_MANY))
    return None


def _attempt(message: str) -> LoginText | None:
    word, _, rest = message.partition(" ")
    method, found, rest = rest.partition(" for ")
    if not found or not _METHOD.fullmatch(method) or method == "none":
        return None  # "none" is a client asking which methods there are
    outcome = ACCEPTED if word == "Accepted" else FAILED
    if outcome == FAILED and rest.startswith("invalid user "):
        return _invalid(rest.removeprefix("invalid user "), method, is_end=False)
    origin = _FROM_LEFT.search(rest)
    if origin is None:
        user, found, _ = rest.partition(" from ")
        return LoginText("sshd", outcome, user, method=method, address="") if found else None
    return LoginText(
        service="sshd",
        outcome=outcome,
        user=rest[: origin.start()],
        method=method,
        address=_address(origin["address"]),
        port=_port(origin["port"]),
        fingerprint=_fingerprint(rest[origin.end() :]) if outcome == ACCEPTED else None,
    )


def _fingerprint(rest: str) -> str | None:
    """Read ``ED25519 SHA256:...``, and of a certificate what stands last: its authority."""
    found = _AUTHORITY.search(rest) or _KEY.fullmatch(rest)
    return found[1] if found else None


def sudoer_of(program: str, message: str) -> LoginText | None:
    """Return who was allowed to run a command through sudo, or None.

    A refusal says why before the first ``NAME=``; so does a wrong password.

    Args:
        program: as the line names it.
        message: untrusted text.
    """
    found = _SUDO.match(message) if program == "sudo" else None
    if found is None:
        return None
    tty = found["tty"]
    return LoginText(
        service="sudo",
        outcome=ACCEPTED,
        user=found["user"],
        method="sudo",
        tty=None if tty in {None, "unknown"} else tty,
    )


def _invalid(rest: str, method: str | None, *, is_end: bool) -> LoginText | None:
    """Read ``<anything> from <address> port <n> ssh2`` from the right."""
    user, found, tail = rest.rpartition(" from ")
    origin = _FROM_RIGHT.fullmatch(tail)
    if not found:
        return None
    return LoginText(
        service="sshd",
        outcome=FAILED,
        user=user,
        method=method,
        address=_address(origin["address"]) if origin else "",
        port=_port(origin["port"]) if origin else None,
        is_end=is_end,
    )


def _too_many(rest: str) -> LoginText | None:
    return _invalid(rest.removeprefix("invalid user "), None, is_end=True)


def _closing(rest: str) -> LoginText | None:
    """Read ``<anything> <address> port <n> [preauth]`` from the right."""
    if not rest.endswith(" [preauth]"):
        return None
    parts = rest.removesuffix(" [preauth]").rsplit(" ", 3)
    origin = _ORIGIN.fullmatch(" ".join(parts[1:]))
    if len(parts) != 4 or origin is None:
        return None
    return LoginText(
        service="sshd",
        outcome=FAILED,
        user=parts[0],
        address=_address(origin["address"]),
        port=_port(origin["port"]),
        is_end=True,
    )


def _of_pam(message: str) -> LoginText | None:
    if found := _PAM_FAILURE.fullmatch(message):
        if found["service"] in _SSHD:
            return None  # sshd says it too, with the port
        rhost = found["rhost"]
        return LoginText(
            service=found["service"],
            outcome=FAILED,
            user=found["user"] or None,
            method="password",
            address=_address(rhost) if rhost else None,
            tty=found["tty"] or None,
        )
    found = _PAM_SESSION.fullmatch(message)
    if found is None or found["service"] not in _SESSION_SERVICES:
        return None
    return LoginText(
        service=found["service"],
        outcome=ACCEPTED,
        user=found["user"],
        uid=int(found["uid"]) if found["uid"] else None,
    )


def _address(text: str) -> str:
    """Return the address in its one spelling; empty where it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _port(text: str) -> int | None:
    port = int(text)
    return port if port <= 65_535 else None
