"""Users, groups and who belongs to them, as the host's own files have them.

Of a password nothing is told but whether one is set, and the day it was last changed: the field of
shadow is looked at for its first character and let go. Source: passwd(5), shadow(5), group(5).
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from agent.hosttext import host_text
from agent.sense.mechanisms import GROUP, GROUP_MEMBER, USER
from agent.sense.sensors.persist.items import NAME_CHARS_MAX, Entry, Found, plain
from agent.sense.sensors.persist.look import Look
from proto.model import User

PASSWD: Final = "/etc/passwd"  # noqa: S105  (a path)
SHADOW: Final = "/etc/shadow"
GROUPS: Final = "/etc/group"
ACCOUNT_BYTES_MAX: Final = 8 << 20

_NUMBER_MAX: Final = (1 << 32) - 1
_DAYS_DIGITS_MAX: Final = 7


class Account(Struct, frozen=True):
    """One line of passwd(5); ``password`` says whether one is set there: see `password_state`."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    password: str

    @property
    def user(self) -> User:
        """The account as an entity."""
        return User(uid=self.uid, name=host_text(self.name, NAME_CHARS_MAX))


class Team(Struct, frozen=True):
    """One line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...]


def read(look: Look) -> Iterator[Found | None]:
    """Yield users, groups and members."""
    found = accounts(look)
    shadow = look.file(SHADOW, ACCOUNT_BYTES_MAX)
    states = parse_shadow(shadow.data) if shadow is not None else {}
    passwd = look.file(PASSWD, ACCOUNT_BYTES_MAX)
    changed = passwd.seen.st_ctime_ns if passwd is not None else 0
    for account in found:
        yield _user(account, states, changed)
    groups = look.file(GROUPS, ACCOUNT_BYTES_MAX)
    if groups is None:
        return
    changed = groups.seen.st_ctime_ns
    first = {account.gid: account for account in reversed(found) if account.name}
    for team in parse_group(groups.data):
        yield plain(GROUPS, changed, Entry(GROUP, team.name, f"gid={team.gid}"))
        for member in dict.fromkeys(team.members):
            yield _member(team, member, changed)
        if team.gid in first and first[team.gid].name != team.name:
            for account in found:
                if account.gid == team.gid and account.name != team.name:
                    yield _member(team, account.name, changed, ("primary group",))


def accounts(look: Look) -> list[Account]:
    """Return the accounts of the host's own file."""
    content = look.file(PASSWD, ACCOUNT_BYTES_MAX)
    return parse_accounts(content.data) if content is not None else []


def parse_accounts(data: bytes) -> list[Account]:
    """Return each account once, by name and number; lines that are none are passed over."""
    found: dict[tuple[bytes, int], Account] = {}
    for line in data.split(b"\n"):
        fields = line.split(b":")
        if len(fields) != 7 or not fields[0] or fields[0][:1] in b"+-#":
            continue
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is None or gid is None:
            continue
        found.setdefault(
            (fields[0], uid),
            Account(
                name=_text(fields[0]),
                uid=uid,
                gid=gid,
                home=_text(fields[5]),
                shell=_text(fields[6]),
                password="" if fields[1] == b"x" else password_state(fields[1]),
            ),
        )
    return list(found.values())


def parse_shadow(data: bytes) -> dict[str, str]:
    """Return for each name what may be told of its password, and nothing else of it."""
    found: dict[str, str] = {}
    for line in data.split(b"\n"):
        fields = line.split(b":", 3)
        if len(fields) != 4 or not fields[0]:
            continue
        day = fields[2] if fields[2].isdigit() and len(fields[2]) <= _DAYS_DIGITS_MAX else b""
        state = password_state(fields[1])
        found.setdefault(_text(fields[0]), f"{state} password_day={day.decode() or 'unknown'}")
    return found


def parse_group(data: bytes) -> list[Team]:
    """Return each group once by name; lines that are none are passed over."""
    found: dict[bytes, Team] = {}
    for line in data.split(b"\n"):
        fields = line.split(b":")
        if len(fields) != 4 or not fields[0] or fields[0][:1] in b"+-#":
            continue
        gid = _number(fields[2])
        if gid is not None:
            members = tuple(_text(name.strip()) for name in fields[3].split(b",") if name.strip())
            found.setdefault(fields[0], Team(_text(fields[0]), gid, members))
    return list(found.values())


def password_state(field: bytes) -> str:
    """Return ``empty``, ``locked`` or ``set``; no more of the field is ever kept."""
    if not field:
        return "empty"
    return "locked" if field[:1] in b"!*" else "set"


def _user(account: Account, states: dict[str, str], changed: int) -> Found:
    password = account.password or states.get(account.name, "unknown")
    value = (
        f"uid={account.uid} gid={account.gid} home={account.home} shell={account.shell}"
        f" password={password}"
    )
    entry = Entry(USER, account.name, value, account.user)
    return plain(PASSWD, changed, entry, str(account.uid))


def _member(team: Team, name: str, changed: int, caveats: tuple[str, ...] = ()) -> Found:
    user = User(name=host_text(name, NAME_CHARS_MAX))
    return plain(GROUPS, changed, Entry(GROUP_MEMBER, team.name, name, user, caveats), name)


def _number(digits: bytes) -> int | None:
    if not digits.isdigit() or len(digits) > 10 or int(digits) > _NUMBER_MAX:
        return None
    return int(digits)


def _text(raw: bytes) -> str:
    """Return a name or a path as `os` would; it can be turned back into its bytes."""
    return raw.decode("utf-8", "surrogateescape")
