"""A line of the audit log: what its user-space records say of logins and accounts. Pure.

    type=USER_LOGIN msg=audit(1700000000.123:45): pid=1 uid=0 auid=1000 ses=2 msg='op=login
    acct="anna" exe="/usr/sbin/sshd" hostname=? addr=192.0.2.1 terminal=ssh res=success'

A program with CAP_AUDIT_WRITE wrote what stands between the quotes; names that a stranger chose are
quoted there or in hexadecimal, so that no name can pass for another field. What a failed attempt
names may be a password, what a command or a terminal says may hold one: such lines never leave as
they are (`is_plain`).

Source: audit_log_acct_message(3), audit_log_user_command(3); linux/audit.h for the types.
"""

import ipaddress
import re
from typing import Final

from msgspec import UNSET, Struct

from agent.hosttext import host_text
from agent.sense.sensors.auditfields import AuditError, Part, fields_of, number, parse_part, plain
from agent.sense.sensors.logintext import ACCEPTED, FAILED, LoginText
from proto.model import ObservationKind, User

_NAME_CHARS_MAX: Final = 256
_LINE: Final = re.compile(rb"(?:node=\S{1,255} )?type=([A-Z0-9_]{1,64}) msg=(audit\(.*)", re.DOTALL)
_INNER: Final = b" msg='"
_ENRICHED: Final = b"\x1d"

_ACCOUNTS: Final = {
    "ADD_USER": ObservationKind.ACCOUNT_ADDED,
    "DEL_USER": ObservationKind.ACCOUNT_REMOVED,
    "USER_MGMT": ObservationKind.ACCOUNT_CHANGED,
    "USER_CHAUTHTOK": ObservationKind.ACCOUNT_CHANGED,
}
# Keys that were offered and not taken are no failures of anyone.
_PASSWORD: Final = frozenset({b"PAM:authentication", b"password", b"challenge-response"})
# Others are sessions of sshd, which USER_LOGIN tells, or of cron, which are no logins.
_SESSIONS: Final = frozenset({"su", "sudo"})
# Records whose text is the kernel's or the audit system's own, without arguments or typed words.
_PLAIN: Final = frozenset(
    {
        "AVC",
        "BPF",
        "CONFIG_CHANGE",
        "DAEMON_ABORT",
        "DAEMON_CONFIG",
        "DAEMON_END",
        "DAEMON_ERR",
        "DAEMON_RESUME",
        "DAEMON_ROTATE",
        "DAEMON_START",
        "FANOTIFY",
        "KERN_MODULE",
        "LOGIN",
        "MAC_CONFIG_CHANGE",
        "MAC_POLICY_LOAD",
        "MAC_STATUS",
        "NETFILTER_CFG",
        "SECCOMP",
        "SELINUX_ERR",
        "SERVICE_START",
        "SERVICE_STOP",
        "SYSTEM_BOOT",
        "SYSTEM_RUNLEVEL",
        "SYSTEM_SHUTDOWN",
    }
)
_PLAIN_BEGIN: Final = ("ANOM_", "INTEGRITY_", "CRYPTO_IKE_", "CRYPTO_IPSEC_")


class AccountText(Struct, frozen=True):
    """An account that a program of the host added, changed or removed."""

    kind: ObservationKind
    user: User


class AuditLine(Struct, frozen=True):
    """One record: its type, when (exact to 1 ms), and what it means where that is known."""

    kind: str
    wall_ns: int
    text: bytes
    means: LoginText | AccountText | None = None
    sudoer: LoginText | None = None


def parse(line: bytes) -> AuditLine | None:
    """Return a line of the audit log, or None for anything else.

    Args:
        line: untrusted, without its line end.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    kind = found[1].decode("ascii")
    try:
        part = parse_part(0, found[2])
        return _meaning(kind, part)
    except AuditError:
        return None


def is_plain(kind: str) -> bool:
    """Tell whether records of a type can be passed on as they are."""
    return kind in _PLAIN or kind.startswith(_PLAIN_BEGIN)


def _meaning(kind: str, part: Part) -> AuditLine:
    outer_text, _, rest = part.text.partition(_INNER)
    inner_text, _, enriched = rest.rpartition(b"'")
    if not inner_text:
        return AuditLine(kind, part.wall_ns, part.text)
    outer, inner = fields_of(outer_text), fields_of(inner_text)
    names = fields_of(enriched.removeprefix(_ENRICHED))
    means: LoginText | AccountText | None = None
    sudoer = None
    is_done = inner.get(b"res") in {b"success", b"1"}
    if kind in _ACCOUNTS and is_done:
        means = _account(kind, inner, names)
    elif kind == "USER_CMD" and is_done and _service(inner) == "sudo":
        sudoer = _sudoer(outer, names)
    elif kind in {"USER_AUTH", "USER_LOGIN", "USER_START"}:
        means = _login(kind, inner, names, is_done=is_done)
    return AuditLine(kind, part.wall_ns, part.text, means, sudoer)


def _login(
    kind: str, inner: dict[bytes, bytes], names: dict[bytes, bytes], *, is_done: bool
) -> LoginText | None:
    """Read an attempt. A failure is told by USER_AUTH: USER_LOGIN repeats some of them."""
    service = _service(inner)
    is_failure = kind == "USER_AUTH" and not is_done and inner.get(b"op") in _PASSWORD
    is_session = kind == "USER_START" and is_done and service in _SESSIONS
    is_login = kind == "USER_LOGIN" and is_done
    if not (is_failure or is_session or is_login):
        return None
    terminal = _text(inner.get(b"terminal"))
    return LoginText(
        service=service,
        outcome=FAILED if is_failure else ACCEPTED,
        user=_name(inner.get(b"acct")) or _name(names.get(b"ID")),
        uid=number(inner.get(b"id")) if is_login else None,
        method="password" if is_failure else None,
        address=_address(inner.get(b"addr")),
        tty=None if terminal in {"", "?", "ssh", "cron"} else terminal.removeprefix("/dev/"),
    )


def _sudoer(outer: dict[bytes, bytes], names: dict[bytes, bytes]) -> LoginText | None:
    """Name who ran a command by the user he logged in as, else by the one he was."""
    for field in (b"auid", b"uid"):
        uid = number(outer.get(field))
        if uid is not None:
            name = _name(names.get(field.upper()))
            return LoginText("sudo", ACCEPTED, name, uid=uid, method="sudo")
    return None


def _account(kind: str, inner: dict[bytes, bytes], names: dict[bytes, bytes]) -> AccountText | None:
    uid = number(inner.get(b"id"))
    name = _name(inner.get(b"acct")) or _name(names.get(b"ID"))
    if uid is None and name is None:
        return None
    user = User(uid=UNSET if uid is None else uid, name=UNSET if name is None else name)
    return AccountText(_ACCOUNTS[kind], user)


def _service(inner: dict[bytes, bytes]) -> str:
    name = _name(inner.get(b"exe")) or ""
    return name.rpartition("/")[2] or "unknown"


def _name(value: bytes | None) -> str | None:
    try:
        found = plain(value)
    except AuditError:
        return None  # written by no function of the library
    return host_text(found, _NAME_CHARS_MAX) if found else None


def _text(value: bytes | None) -> str:
    return "" if value is None else host_text(value.strip(b'"'), _NAME_CHARS_MAX)


def _address(value: bytes | None) -> str | None:
    """Return the address in its one spelling; None for none, empty for what is none."""
    text = _text(value)
    if text in {"", "?"}:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
