"""File probe: what a path is, its mode and its owner. Never what is in it.

Source: stat of the path, after links; names of owners from /etc/passwd and /etc/group. Privilege:
search permission on the directories above. Misses: access lists beyond the mode, attributes, and
the permissions of the directories above.
"""

import stat
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason

# Where a check may look: what the system owns, never what people keep.
TREES: Final = ("/bin/", "/boot/", "/dev/", "/etc/", "/lib/", "/opt/", "/run/", "/sbin/", "/usr/")

_KINDS: Final = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which path."""

    path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9_@+.-]+)+$", max_length=256)]


class Facts(Struct, frozen=True):
    """The path as it was; all but ``exists`` are None where there is nothing."""

    exists: bool
    kind: str | None = None
    mode: str | None = None
    uid: int | None = None
    gid: int | None = None
    owner: str | None = None
    group: str | None = None
    empty: bool | None = None


def read(parameters: Parameters, reader: HostReader) -> Facts:
    """Return the facts of one path.

    Raises:
        Unseen: it could not be looked at, or lies outside `TREES`.
    """
    path = parameters.path
    if not path.startswith(TREES) or ".." in path.split("/"):
        raise Unseen(UnknownReason.DENIED, f"{path} is not ours to look at")
    found = reader.stat(path)
    if found is None:
        return Facts(exists=False)
    return Facts(
        exists=True,
        kind=next((name for test, name in _KINDS if test(found.st_mode)), "other"),
        mode=f"{stat.S_IMODE(found.st_mode):04o}",
        uid=found.st_uid,
        gid=found.st_gid,
        owner=_names(reader, "/etc/passwd").get(found.st_uid),
        group=_names(reader, "/etc/group").get(found.st_gid),
        empty=found.st_size == 0,
    )


def _names(reader: HostReader, path: str) -> dict[int, str]:
    return reader.once(f"ids {path}", lambda: _read_names(reader, path))


def _read_names(reader: HostReader, path: str) -> dict[int, str]:
    names: dict[int, str] = {}
    try:
        text = reader.text(path) or ""
    except Unseen as unseen:
        if unseen.reason is UnknownReason.TIMEOUT:
            raise
        return names  # the number is still a fact; the name is then not known
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isascii() and fields[2].isdigit():
            names.setdefault(int(fields[2][:10]), fields[0][:64])
    return names
