"""Accounts probe: who is on this host, and how their passwords are kept. Never a password's hash.

Source: /etc/passwd, /etc/shadow and /etc/login.defs. Privilege: root or the group ``shadow`` for
the ``passwords`` view. Of a hash only its algorithm is kept, by its prefix, and whether it is
locked. Misses: accounts of a directory service, and passwords it checks.

Source: passwd(5), shadow(5), crypt(5).
"""

import enum
from collections import Counter
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason

NAMES_SHOWN_MAX: Final = 64
NAME_CHARS_MAX: Final = 64
ACCOUNT_FILE_BYTES_MAX: Final = 4 * 1024 * 1024
_UID_MIN_DEFAULT: Final = 1000
_NEVER_EXPIRES_DAYS: Final = 99_999

_NO_LOGIN: Final = frozenset({"nologin", "false", "sync", "shutdown", "halt", "git-shell"})
_ALGORITHMS: Final = (
    ("$y$", "yescrypt"),
    ("$gy$", "gost_yescrypt"),
    ("$7$", "scrypt"),
    ("$6$", "sha512crypt"),
    ("$5$", "sha256crypt"),
    ("$2b$", "bcrypt"),
    ("$2y$", "bcrypt"),
    ("$2a$", "bcrypt"),
    ("$2x$", "bcrypt_flawed"),
    ("$1$", "md5crypt"),
    ("$md5", "sun_md5"),
    ("$sha1", "sha1crypt"),
    ("$3$", "nt"),
    ("_", "bsdi_des"),
)
_DES_CHARS: Final = 13


class View(enum.Enum):
    """How much is read: ``accounts`` needs no privilege."""

    ACCOUNTS = "accounts"
    PASSWORDS = "passwords"


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which view."""

    view: View


class Passwords(Struct, frozen=True):
    """How passwords are kept; ``algorithms`` are those of passwords that can be used.

    ``system_login`` are accounts below UID_MIN that can log in with one, ``longest_days`` the
    longest time a usable one lives (None: no usable one), ``locked`` counts hashes put aside.
    """

    empty: tuple[str, ...]
    algorithms: tuple[str, ...]
    system_login: tuple[str, ...]
    usable: int
    locked: int
    longest_days: int | None


class Facts(Struct, frozen=True, omit_defaults=True):
    """Who is here; lists are cut at `NAMES_SHOWN_MAX` names, counts are not."""

    accounts: int
    uid0: tuple[str, ...]
    uid0_count: int
    unshadowed: tuple[str, ...]
    shared_uids: int
    passwords: Passwords | UnsetType = UNSET


class _Account(Struct, frozen=True):
    name: str
    field: str
    uid: int
    shell: str


class _Shadow(Struct, frozen=True):
    field: str
    max_days: int | None


def read(parameters: Parameters, reader: HostReader) -> Facts:
    """Return the facts of a view.

    Raises:
        Unseen: a file that the view needs could not be read whole.
    """
    accounts = reader.once("passwd", lambda: _accounts(reader))
    uid0 = [account.name for account in accounts if account.uid == 0]
    unshadowed = [account.name for account in accounts if _holds_hash(account.field)]
    uids = Counter(account.uid for account in accounts)
    return Facts(
        accounts=len(accounts),
        uid0=_shown(uid0),
        uid0_count=len(uid0),
        unshadowed=_shown(unshadowed),
        shared_uids=sum(1 for count in uids.values() if count > 1),
        passwords=_passwords(reader, accounts) if parameters.view is View.PASSWORDS else UNSET,
    )


def algorithm(field: str) -> str | None:
    """Return the name of the algorithm of a shadow field; None where no password can match it."""
    if field.startswith(("!", "*")) or field in {"", "x"}:
        return None
    for prefix, name in _ALGORITHMS:
        if field.startswith(prefix):
            return name
    return "des" if len(field) == _DES_CHARS and not field.startswith("$") else "other"


def _passwords(reader: HostReader, accounts: tuple[_Account, ...]) -> Passwords:
    shadow = reader.once("shadow", lambda: _shadow(reader))
    uid_min = reader.once("login.defs", lambda: _uid_min(reader))
    fields = {account.name: _field(account, shadow) for account in accounts}
    usable = [account for account in accounts if algorithm(fields[account.name]) is not None]
    days = [_life(shadow.get(account.name)) for account in usable]
    system = [
        account.name
        for account in accounts
        if 0 < account.uid < uid_min
        and account.shell.rpartition("/")[2] not in _NO_LOGIN
        and (fields[account.name] == "" or account in usable)
    ]
    return Passwords(
        empty=_shown([name for name, field in fields.items() if field == ""]),
        algorithms=tuple(sorted({algorithm(fields[account.name]) or "" for account in usable})),
        system_login=_shown(system),
        usable=len(usable),
        locked=sum(1 for field in fields.values() if field.startswith("!") and len(field) > 2),
        longest_days=max(days, default=None),
    )


def _field(account: _Account, shadow: dict[str, _Shadow]) -> str:
    """Return the password field in force: that of shadow where passwd says ``x``."""
    if account.field != "x":
        return account.field
    entry = shadow.get(account.name)
    return entry.field if entry is not None else "*"


def _life(entry: _Shadow | None) -> int:
    if entry is None or entry.max_days is None:
        return _NEVER_EXPIRES_DAYS
    return entry.max_days


def _holds_hash(field: str) -> bool:
    return field != "x" and not field.startswith(("!", "*"))


def _accounts(reader: HostReader) -> tuple[_Account, ...]:
    found = []
    for fields in _lines(reader, "/etc/passwd", 7):
        if not fields[0] or not (fields[2].isascii() and fields[2].isdigit()):
            raise Unseen(UnknownReason.PARSE, "a line of /etc/passwd is cut or of another form")
        found.append(
            _Account(fields[0][:NAME_CHARS_MAX], fields[1], int(fields[2][:10]), fields[6])
        )
    if not found:
        raise Unseen(UnknownReason.PARSE, "/etc/passwd names nobody")
    return tuple(found)


def _shadow(reader: HostReader) -> dict[str, _Shadow]:
    found: dict[str, _Shadow] = {}
    for fields in _lines(reader, "/etc/shadow", 9):
        days = int(fields[4][:6]) if fields[4].isascii() and fields[4].isdigit() else None
        found.setdefault(fields[0][:NAME_CHARS_MAX], _Shadow(fields[1], days))
    return found


def _lines(reader: HostReader, path: str, fields: int) -> list[list[str]]:
    text = reader.text(path, ACCOUNT_FILE_BYTES_MAX)
    if text is None:
        raise Unseen(UnknownReason.MISSING, f"there is no {path}")
    if not text.endswith("\n"):
        raise Unseen(UnknownReason.PARSE, f"the last line of {path} is cut")
    rows = [line.split(":") for line in text.split("\n") if line and not line.startswith("#")]
    if any(len(row) != fields for row in rows):
        raise Unseen(UnknownReason.PARSE, f"a line of {path} is cut or of another form")
    return rows


def _uid_min(reader: HostReader) -> int:
    for line in (reader.text("/etc/login.defs") or "").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "UID_MIN" and words[1].isascii() and words[1].isdigit():
            return int(words[1][:9])
    return _UID_MIN_DEFAULT


def _shown(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names))[:NAMES_SHOWN_MAX])
