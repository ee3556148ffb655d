"""A log and its rotated brothers, as open files in the order they were written.

Brothers are ``NAME.N`` (higher is older) and ``NAME-DATE`` or anything else that begins so (by
their time of writing). Compressed ones are left alone: unpacking host input is not done here.
"""

import os
import re
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.logfile import LogFile

SIBLINGS_MAX: Final = 16

_SHOWN_CHARS_MAX: Final = 256
_COMPRESSED: Final = (b".gz", b".xz", b".bz2", b".zst", b".lz4")
_NUMBERED: Final = re.compile(rb"\.(\d{1,9})", re.ASCII)


def open_log(host: HostRoot, path: bytes) -> LogFile:
    """Open one log at its beginning.

    Raises:
        HostFileError: it is missing, unreadable or no regular file.
    """
    fd = host.open_file(path)
    try:
        return LogFile(fd)
    except OSError as error:
        os.close(fd)
        raise HostFileError(host_text(path, _SHOWN_CHARS_MAX), str(error.strerror)) from error


def open_rotated(host: HostRoot, path: bytes) -> list[LogFile]:
    """Open the newest `SIBLINGS_MAX` uncompressed brothers, oldest first; some may be left out."""
    directory, _, name = path.rpartition(b"/")
    files: list[LogFile] = []
    for brother in _names(host, directory or b"/", name)[-SIBLINGS_MAX:]:
        try:
            files.append(open_log(host, directory + b"/" + brother))
        except HostFileError:
            continue  # compressed or removed meanwhile
    return files


def _names(host: HostRoot, directory: bytes, name: bytes) -> list[bytes]:
    found: list[tuple[bytes, int]] = []
    try:
        for entry in host.scandir(directory):
            raw = os.fsencode(entry.name)
            if raw.startswith((name + b".", name + b"-")) and not raw.endswith(_COMPRESSED):
                found.append((raw, entry.stat().st_mtime_ns))
    except (HostFileError, OSError):
        return []
    numbers = [_NUMBERED.fullmatch(raw[len(name) :]) for raw, _ in found]
    if all(numbers):
        return sorted((raw for raw, _ in found), key=lambda raw: -int(raw[len(name) + 1 :]))
    return [raw for raw, _ in sorted(found, key=lambda pair: pair[1])]
