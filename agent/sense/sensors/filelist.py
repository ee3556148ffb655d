"""What is in the watched trees now, as rows for a table; nothing is hashed, kept or watched."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.filerows import type_caveat
from agent.sense.sensors.filesweep import roots_of
from agent.sense.sensors.filetrees import FileSettings, Place, Scope

_PATH_CHARS_MAX: Final = 8192


def _ignored(_what: str) -> None:
    """Take no note."""


def file_rows(
    settings: FileSettings, host: HostRoot, missed: Callable[[str], None] = _ignored
) -> Iterator[dict[str, object]]:
    """Yield a row for each file of the configured trees, at most ``entries_max`` of them.

    A row has ``path``, ``type``, ``size_bytes``, ``mode`` (octal), ``uid``, ``gid`` and
    ``changed`` (ctime, nanoseconds UTC).

    Args:
        settings: which trees.
        host: the only way to them.
        missed: takes what could not be listed.
    """
    scope = Scope(settings.trees)
    left = settings.entries_max
    for number, tree in enumerate(settings.trees):
        for path in roots_of(host, os.fsencode(tree.path)):
            for row in _below(host, scope, scope.root(number, path), missed):
                if left <= 0:
                    missed(f"more than {settings.entries_max} files are not listed")
                    return
                left -= 1
                yield row


def _below(
    host: HostRoot, scope: Scope, root: Place, missed: Callable[[str], None]
) -> Iterator[dict[str, object]]:
    try:
        seen = host.stat(root.path or b"/", follow=False)
    except HostFileMissing:
        return
    except HostFileError as error:
        missed(error.message)
        return
    if not stat.S_ISDIR(seen.st_mode):
        yield _row(root.path, seen)
        return
    stack = [root]
    while stack:
        place = stack.pop()
        for name, found in sorted(_entries(host, place, missed).items()):
            if scope.excludes(place, name):
                continue
            if not stat.S_ISDIR(found.st_mode):
                yield _row(place.path + b"/" + name, found)
            elif found.st_dev == seen.st_dev and (inner := scope.below(place, name)):
                stack.append(inner)


def _entries(
    host: HostRoot, place: Place, missed: Callable[[str], None]
) -> dict[bytes, os.stat_result]:
    found: dict[bytes, os.stat_result] = {}
    try:
        for entry in host.scandir(place.path or b"/"):
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                found[os.fsencode(entry.name)] = entry.stat()
    except HostFileMissing:
        return found  # the directory went away meanwhile
    except HostFileError as error:
        missed(error.message)
    except OSError as error:
        path = host_text(place.path or b"/", _PATH_CHARS_MAX)
        missed(f"{path}: {os.strerror(error.errno or 0).lower()}")
    return found


def _row(path: bytes, seen: os.stat_result) -> dict[str, object]:
    return {
        "path": host_text(path, _PATH_CHARS_MAX),
        "type": type_caveat(seen.st_mode) or "file",
        "size_bytes": seen.st_size,
        "mode": f"{stat.S_IMODE(seen.st_mode):04o}",
        "uid": seen.st_uid,
        "gid": seen.st_gid,
        "changed": seen.st_ctime_ns,
    }
