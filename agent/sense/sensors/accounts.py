"""Names of accounts, from the host's own ``/etc/passwd``.

Accounts of a directory service are not there; their name stays `UNSET`, not collected. No name
service is asked: it may use the network, and this process has none.
"""

from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from proto.model import User
from runtime.clock import NS_PER_S, Clock

USERS_FILE: Final = "/etc/passwd"
USERS_BYTES_MAX: Final = 4 << 20
NAME_CHARS_MAX: Final = 256
REFRESH_INTERVAL_S: Final = 60

_UID_MAX: Final = (1 << 32) - 1
_UID_DIGITS_MAX: Final = 10


class Accounts:
    """Looks up users by number; the file is read again when it has changed."""

    def __init__(self, host: HostRoot, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._users: dict[int, User] = {}
        self._seen: tuple[int, int, int] | None = None
        self._look_at = 0

    def user(self, uid: int) -> User:
        """Return the account; its name is `UNSET` where the host's file has none for it."""
        now = self._clock.boot_ns()
        if now >= self._look_at:
            self._look_at = now + REFRESH_INTERVAL_S * NS_PER_S
            self._refresh()
        return self._users.get(uid) or User(uid=uid)

    def _refresh(self) -> None:
        try:
            stat = self._host.stat(USERS_FILE)
            seen = (stat.st_ino, stat.st_size, stat.st_ctime_ns)
            if seen == self._seen:
                return
            names = parse_passwd(self._host.read_bytes(USERS_FILE, USERS_BYTES_MAX))
        except HostFileError:
            names = {}
            seen = None
        self._seen = seen
        self._users = {uid: User(uid=uid, name=name) for uid, name in names.items()}


def parse_passwd(data: bytes) -> dict[int, str]:
    """Return the first name of each user number; lines that are none are passed over.

    Source: passwd(5).
    """
    names: dict[int, str] = {}
    for line in data.split(b"\n"):
        fields = line.split(b":", 3)
        if len(fields) != 4 or not fields[0]:
            continue
        digits = fields[2]
        if digits.isdigit() and len(digits) <= _UID_DIGITS_MAX and int(digits) <= _UID_MAX:
            names.setdefault(int(digits), host_text(fields[0], NAME_CHARS_MAX))
    return names
