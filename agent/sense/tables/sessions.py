"""Login sessions, as logind keeps them and as utmp lists them.

A session may be in both; a host may have only one of the two.

Source: sd-login(3) and systemd's session files; utmp(5).
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.sense.sensors import utmp
from agent.sense.tables.table import Looking, Row, Table, as_text, number

UTMP_PATHS: Final = ("/run/utmp", "/var/run/utmp")
LOGIND: Final = "/run/systemd/sessions"
UTMP_BYTES_MAX: Final = 4 << 20
SESSIONS_MAX: Final = 10_000

_SESSION_NAME: Final = re.compile(r"c?[0-9]{1,10}")
_NS_PER_US: Final = 1000


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a session of logind, then one a login of utmp."""
    for name in looking.entries(LOGIND)[:SESSIONS_MAX]:
        if _SESSION_NAME.fullmatch(name):
            data = looking.maybe(f"{LOGIND}/{name}")
            if data is not None:
                yield parse_session(name, data)
    for path in UTMP_PATHS:
        data = looking.maybe(path, UTMP_BYTES_MAX)
        if data is not None:
            yield from parse_utmp(data)
            return
    if not looking.is_there(LOGIND):
        looking.missed("neither logind nor utmp keeps sessions here")


def parse_session(name: str, data: bytes) -> Row:
    """Return a session from logind's file of it; what it does not say is None."""
    fields: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        key, equals, value = line.partition(b"=")
        if equals:
            fields.setdefault(key, value)

    def text(key: bytes) -> str | None:
        return as_text(fields[key]) if fields.get(key) else None

    since = number(fields.get(b"REALTIME", b""), 16)
    return {
        "source": "logind",
        "session": name,
        "user": text(b"USER"),
        "uid": number(fields.get(b"UID", b""), 10),
        "tty": text(b"TTY"),
        "remote_host": text(b"REMOTE_HOST"),
        "remote_user": text(b"REMOTE_USER"),
        "service": text(b"SERVICE"),
        "type": text(b"TYPE"),
        "class": text(b"CLASS"),
        "state": text(b"STATE"),
        "leader": number(fields.get(b"LEADER", b""), 10),
        "since": None if since is None else since * _NS_PER_US,
    }


def parse_utmp(data: bytes) -> Iterator[Row]:
    """Yield the logins of a utmp; other entries and a torn last one are passed over."""
    for place in range(min(len(data) // utmp.RECORD_BYTES, SESSIONS_MAX)):
        at = place * utmp.RECORD_BYTES
        found = utmp.parse_session(data[at : at + utmp.RECORD_BYTES])
        if found is not None and found.kind == utmp.USER_PROCESS and found.user:
            yield {
                "source": "utmp",
                "session": None,
                "user": found.user,
                "tty": found.line or None,
                "remote_host": found.host or None,
                "remote_address": found.address or None,
                "leader": found.pid,
                "since": found.at,
            }


TABLE: Final = Table(
    text="who is logged in, from where, since when",
    columns={
        "source": "logind or utmp",
        "session": "id of the session; null where only a terminal is known",
        "user": "name of the account",
        "uid": "number of the account",
        "tty": "terminal; null for none",
        "remote_host": "the host it came from, as the service wrote it",
        "remote_address": "the address it came from",
        "remote_user": "the account it came from",
        "service": "the service that let it in",
        "type": "tty, x11, wayland or unspecified",
        "class": "user, greeter, manager or background",
        "state": "online, active or closing",
        "leader": "process number of its first process",
        "since": "beginning, nanoseconds UTC",
    },
    rows=rows,
    shown=(
        "source",
        "session",
        "user",
        "tty",
        "remote_host",
        "remote_address",
        "service",
        "leader",
    ),
)
