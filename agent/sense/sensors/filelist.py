"""What is in the watched trees now, as rows for a table; nothing is hashed, kept or watched."""

import os
import stat
from collections.abc import Iterator
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.filerows import type_caveat
from agent.sense.sensors.filesweep import roots_of
from agent.sense.sensors.filetrees import FileSettings, Place, Scope

_PATH_CHARS_MAX: Final = 8192


def file_rows(settings: FileSettings, host: HostRoot) -> Iterator[dict[str, object]]:
    """Yield a row for each file of the configured trees, at most ``entries_max`` of them.

    A row has ``path``, ``type``, ``size_bytes``, ``mode`` (octal), ``uid``, ``gid`` and
    ``changed`` (ctime, nanoseconds UTC). What cannot be listed is left out.
    """
    scope = Scope(settings.trees)
    left = settings.entries_max
    for number, tree in enumerate(settings.trees):
        for path in roots_of(host, os.fsencode(tree.path)):
            for row in _below(host, scope, scope.root(number, path)):
                if left <= 0:
                    return
                left -= 1
                yield row


def _below(host: HostRoot, scope: Scope, root: Place) -> Iterator[dict[str, object]]:
    try:
        seen = host.stat(root.path or b"/", follow=False)
    except HostFileError:
        return
    if not stat.S_ISDIR(seen.st_mode):
        yield _row(root.path, seen)
        return
    stack = [root]
    while stack:
        place = stack.pop()
        for name, found in sorted(_entries(host, place).items()):
            if scope.excludes(place, name):
                continue
            if not stat.S_ISDIR(found.st_mode):
                yield _row(place.path + b"/" + name, found)
            elif found.st_dev == seen.st_dev and (inner := scope.below(place, name)):
                stack.append(inner)


def _entries(host: HostRoot, place: Place) -> dict[bytes, os.stat_result]:
    found: dict[bytes, os.stat_result] = {}
    try:
        for entry in host.scandir(place.path or b"/"):
            found[os.fsencode(entry.name)] = entry.stat()
    except (HostFileError, OSError):
        return found  # the directory, or a name in it, went away meanwhile
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
