"""A log and its rotated brothers, as open files in the order they were written.

Brothers are ``NAME.N`` (higher is older), ``NAME-DATE``, ``NAME.DATE`` and ``NAME.old`` (by their
time of writing); another log whose name only begins alike is none. Compressed ones are counted and
left alone: unpacking host input is not done here.
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
# What logrotate(8), savelog(8) and loggers that rotate themselves put behind the name.
_ROTATED: Final = re.compile(rb"[.-](?:\d[\dTZ:_.-]{0,31}|old|bak|prev)", re.ASCII)


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


def gzipped(host: HostRoot, path: bytes) -> list[tuple[bytes, int]]:
    """Return path and time of writing of the brothers that gzip has compressed, oldest first."""
    directory, _, name = path.rpartition(b"/")
    found = _brothers(host, directory or b"/", name)
    packed = [(directory + b"/" + raw, at) for raw, at, _ in found if raw.endswith(b".gz")]
    return sorted(packed, key=lambda pair: pair[1])


def compressed(host: HostRoot, path: bytes) -> set[int]:
    """Return when the compressed brothers were last written to: compressing keeps that time."""
    directory, _, name = path.rpartition(b"/")
    found = _brothers(host, directory or b"/", name)
    return {at for _, at, is_compressed in found if is_compressed}


def is_rotated_name(name: str, of: str) -> bool:
    """Tell whether a name is that of a rotated brother of another, compressed or not."""
    raw, log = os.fsencode(name), os.fsencode(of)
    for ending in _COMPRESSED:
        raw = raw.removesuffix(ending)
    return raw.startswith(log) and _ROTATED.fullmatch(raw[len(log) :]) is not None


def _names(host: HostRoot, directory: bytes, name: bytes) -> list[bytes]:
    found = [(raw, at) for raw, at, is_not in _brothers(host, directory, name) if not is_not]
    numbers = [_NUMBERED.fullmatch(raw[len(name) :]) for raw, _ in found]
    if all(numbers):
        return sorted((raw for raw, _ in found), key=lambda raw: -int(raw[len(name) + 1 :]))
    return [raw for raw, _ in sorted(found, key=lambda pair: pair[1])]


def _brothers(host: HostRoot, directory: bytes, name: bytes) -> list[tuple[bytes, int, bool]]:
    """Return name, time of writing, and whether it is compressed, in no order."""
    found: list[tuple[bytes, int, bool]] = []
    try:
        for entry in host.scandir(directory):
            raw = os.fsencode(entry.name)
            if not raw.startswith(name):
                continue
            plain, is_compressed = raw, False
            for ending in _COMPRESSED:
                if raw.endswith(ending):
                    plain, is_compressed = raw.removesuffix(ending), True
            if _ROTATED.fullmatch(plain[len(name) :]):
                found.append((raw, entry.stat().st_mtime_ns, is_compressed))
    except (HostFileError, OSError):
        return []
    return found
