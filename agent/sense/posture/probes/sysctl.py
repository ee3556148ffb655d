"""Sysctl probe: the value in force, and the value that the next boot will set.

Source: /proc/sys and the files of sysctl.d. Persisted settings follow systemd-sysctl: a file of a
directory named earlier hides one of the same name in a later one, all files are read in the order
of their names, and the last assignment wins; an assignment by glob gives way to one by name.
Misses: settings made by other tools at boot, and per-interface keys not asked for.

Source: sysctl.d(5).
"""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason

FILES_MAX: Final = 512
_DIRECTORIES: Final = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_SECRET: Final = re.compile(r"secret|fastopen_key|random/uuid")
_VALUE_CHARS_MAX: Final = 256
_LIVE_BYTES_MAX: Final = 4096


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which key, with dots or, where a part of it holds a dot, with slashes."""

    key: Annotated[str, Meta(pattern=r"^[a-z0-9_]+([./][A-Za-z0-9_.-]+)+$", max_length=128)]


class Facts(Struct, frozen=True):
    """Both values; None where the kernel has no such key, or no file sets it."""

    live: int | str | None
    persisted: int | str | None
    origin: str | None


class Assignment(Struct, frozen=True):
    """A line of a file; a ``value`` of None takes the key out of what globs match."""

    key: str
    value: str | None
    origin: str


def read(parameters: Parameters, reader: HostReader) -> Facts:
    """Return both values of a key.

    Raises:
        Unseen: either could not be read, or the key holds a secret.
    """
    key = normal_key(parameters.key)
    if _SECRET.search(key) or ".." in key.split("/"):
        raise Unseen(UnknownReason.DENIED, f"{parameters.key} is not ours to read")
    live = reader.text(f"/proc/sys/{key}", _LIVE_BYTES_MAX)
    if live is None:
        # Without a kernel that shows its settings the key's absence would prove nothing.
        reader.text("/proc/sys/kernel/osrelease", _LIVE_BYTES_MAX)
    kept = persisted(key, reader.once("sysctl.d", lambda: _assignments(reader)))
    return Facts(
        live=_typed(live) if live is not None else None,
        persisted=_typed(kept.value) if kept is not None and kept.value is not None else None,
        origin=kept.origin if kept is not None else None,
    )


def persisted(key: str, assignments: tuple[Assignment, ...]) -> Assignment | None:
    """Return the assignment that the next boot makes to a key, None where none does."""
    named = [line for line in assignments if line.key == key]
    if named:
        return named[-1] if named[-1].value is not None else None
    globbed = [line for line in assignments if _is_glob(line.key) and fnmatchcase(key, line.key)]
    return globbed[-1] if globbed else None


def parse(text: str, origin: str) -> tuple[Assignment, ...]:
    """Return the assignments of one file; a line that is none is skipped, as the tool does."""
    found = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if equals:
            found.append(Assignment(normal_key(name.removeprefix("-")), value.strip(), origin))
        elif name.startswith("-"):
            found.append(Assignment(normal_key(name[1:]), None, origin))
    return tuple(found)


def normal_key(key: str) -> str:
    """Return a key with slashes: the first separator tells which of the two spellings it is."""
    separator = re.search(r"[./]", key)
    if separator is None or separator.group() == "/":
        return key.strip("/")
    return key.translate(str.maketrans("./", "/."))


def _assignments(reader: HostReader) -> tuple[Assignment, ...]:
    chosen: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in reader.names(directory) or ():
            if name.endswith(".conf"):
                chosen.setdefault(name, f"{directory}/{name}")
    if len(chosen) > FILES_MAX:
        raise Unseen(UnknownReason.OVERSIZE, f"over {FILES_MAX} files of sysctl settings")
    found: list[Assignment] = []
    for name in sorted(chosen):
        data = _read_file(reader, chosen[name])
        found += parse(data.decode("utf-8", "backslashreplace"), chosen[name])
    return tuple(found)


def _read_file(reader: HostReader, path: str) -> bytes:
    info = reader.stat(path)
    if info is not None and info.st_size == 0:
        return b""  # also a link to /dev/null, which hides a file of the same name
    return reader.read(path) or b""


def _is_glob(key: str) -> bool:
    return any(char in key for char in "*?[")


def _typed(text: str) -> int | str:
    plain = " ".join(text.split())
    return int(plain) if _NUMBER.fullmatch(plain) else plain[:_VALUE_CHARS_MAX]
