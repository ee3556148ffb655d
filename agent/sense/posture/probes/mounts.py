"""Mounts probe: how a path is mounted now, and how fstab says it should be.

Source: /proc/1/mountinfo, because our own view may be a private one, and /etc/fstab. Privilege: to
read PID 1's view, that of root. Misses: mount units and generators other than fstab. Options are
kept only when they are known flags; what a file system keeps private (a password) is dropped.
"""

import re
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason

MOUNTINFO_BYTES_MAX: Final = 4 * 1024 * 1024
_FLAGS: Final = frozenset(
    {"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "sync", "async", "dirsync"}
    | {"noatime", "nodiratime", "relatime", "strictatime", "lazytime", "mand", "nomand"}
    | {"defaults", "auto", "noauto", "user", "nouser", "users", "_netdev", "bind", "rbind"}
)
_OCTAL: Final = re.compile(r"\\([0-3][0-7]{2})")


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which path."""

    path: Annotated[str, Meta(pattern=r"^/([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?$", max_length=256)]


class Mount(Struct, frozen=True):
    """A mount at exactly the path; ``options`` are the known flags, sorted."""

    fstype: str
    options: tuple[str, ...]


class _Row(Struct, frozen=True):
    id: int
    parent: int
    path: str
    mount: Mount


class Facts(Struct, frozen=True):
    """None where nothing is mounted there, or fstab has no line for it."""

    live: Mount | None
    fstab: Mount | None


def read(parameters: Parameters, reader: HostReader) -> Facts:
    """Return how a path is mounted and should be.

    Raises:
        Unseen: either could not be read.
    """
    live = reader.once("mountinfo", lambda: _live(reader))
    fstab = reader.once("fstab", lambda: _fstab(reader))
    return Facts(live=live.get(parameters.path), fstab=fstab.get(parameters.path))


def parse_mountinfo(text: str) -> dict[str, Mount]:
    """Return what is visible at each mount point; a mount hides what it was put over.

    Raises:
        Unseen: a line is not one of mountinfo, or nothing is mounted at the root.
    """
    children: dict[int, list[_Row]] = {}
    rows = [_row(line) for line in text.splitlines()]
    for row in rows:
        children.setdefault(row.parent, []).append(row)
    ids = {row.id for row in rows}
    open_ = [row for row in rows if row.path == "/" and row.parent not in ids - {row.id}]
    if not open_:
        raise Unseen(UnknownReason.PARSE, "mountinfo shows no root")
    visible: dict[str, Mount] = {}
    while open_:
        row = open_.pop()
        below = [child for child in children.pop(row.id, ()) if child is not row]
        over = [child for child in below if child.path == row.path]
        if over:
            open_.append(over[-1])
            continue
        visible[row.path] = row.mount
        paths = {child.path for child in below}
        # Two mounts on one parent, one above the other: the upper came later and hides the lower.
        open_ += [child for child in below if paths.isdisjoint(_above(child.path))]
    return visible


def _row(line: str) -> _Row:
    head, separator, tail = line.partition(" - ")
    fields, rest = head.split(" "), tail.split(" ")
    numbers = fields[:2]
    if not separator or len(fields) < 6 or len(rest) < 3 or not all(map(_is_number, numbers)):
        raise Unseen(UnknownReason.PARSE, "a line of mountinfo is cut or of another form")
    options = set(fields[5].split(",")) | ({"ro"} & set(rest[2].split(",")))
    if "ro" in options:
        options.discard("rw")
    mount = Mount(rest[0][:32], _known(options))
    return _Row(int(fields[0]), int(fields[1]), _unescape(fields[4]), mount)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _above(path: str) -> list[str]:
    """Return the directories above a path, without the root."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


def parse_fstab(text: str) -> dict[str, Mount]:
    """Return what fstab wants at each path; the last line for a path counts.

    Raises:
        Unseen: a line has fewer than three fields.
    """
    found: dict[str, Mount] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) < 3:
            raise Unseen(UnknownReason.PARSE, "a line of fstab is cut")
        options = fields[3] if len(fields) > 3 else "defaults"
        path = _unescape(fields[1])
        found[path.rstrip("/") or "/"] = Mount(fields[2][:32], _known(set(options.split(","))))
    return found


def _live(reader: HostReader) -> dict[str, Mount]:
    text = reader.text("/proc/1/mountinfo", MOUNTINFO_BYTES_MAX)
    if text is None:
        raise Unseen(UnknownReason.OFFLINE, "there is no PID 1 to ask")
    return parse_mountinfo(text)


def _fstab(reader: HostReader) -> dict[str, Mount]:
    data = reader.read("/etc/fstab")
    return parse_fstab((data or b"").decode("utf-8", "backslashreplace"))


def _known(options: set[str]) -> tuple[str, ...]:
    return tuple(sorted(options & _FLAGS))


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)
