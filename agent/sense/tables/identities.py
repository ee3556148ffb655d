"""Users and groups of the host's own files; those of a directory service are not in them.

Source: passwd(5), group(5).
"""

from collections.abc import Iterator
from typing import Final

from agent.sense.tables.table import PATH_CHARS_MAX, Looking, Row, Table, as_text, number

FILE_BYTES_MAX: Final = 16 << 20
LINES_MAX: Final = 100_000

_ID_DIGITS_MAX: Final = 10


def user_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a user."""
    data = looking.need("/etc/passwd", FILE_BYTES_MAX)
    yield from parse_users(data or b"")


def group_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a group."""
    data = looking.need("/etc/group", FILE_BYTES_MAX)
    yield from parse_groups(data or b"")


def parse_users(data: bytes) -> Iterator[Row]:
    """Yield the users of a passwd; lines that are none are passed over."""
    for fields in _lines(data, 7):
        uid, gid = number(fields[2], _ID_DIGITS_MAX), number(fields[3], _ID_DIGITS_MAX)
        if uid is not None and gid is not None:
            yield {
                "uid": uid,
                "gid": gid,
                "name": as_text(fields[0]),
                "comment": as_text(fields[4]) or None,
                "home": as_text(fields[5], PATH_CHARS_MAX),
                "shell": as_text(fields[6], PATH_CHARS_MAX) or None,
            }


def parse_groups(data: bytes) -> Iterator[Row]:
    """Yield the groups of a group file; lines that are none are passed over."""
    for fields in _lines(data, 4):
        gid = number(fields[2], _ID_DIGITS_MAX)
        if gid is not None:
            members = [as_text(name) for name in fields[3].split(b",") if name]
            yield {"gid": gid, "name": as_text(fields[0]), "members": members}


def _lines(data: bytes, count: int) -> Iterator[list[bytes]]:
    for line in data.split(b"\n")[:LINES_MAX]:
        fields = line.split(b":")
        if len(fields) == count and fields[0]:
            yield fields


USERS: Final = Table(
    text="users of the host's own account file",
    columns={
        "uid": "number of the user",
        "gid": "number of its first group",
        "name": "name",
        "comment": "full name or purpose",
        "home": "home directory",
        "shell": "what runs at a login; null for the default",
    },
    rows=user_rows,
)
GROUPS: Final = Table(
    text="groups of the host's own group file",
    columns={
        "gid": "number of the group",
        "name": "name",
        "members": "users in it beside those whose first group it is",
    },
    rows=group_rows,
)
