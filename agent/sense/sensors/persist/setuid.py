"""Files that lend their owner's rights: set-user-id and set-group-id bits, file capabilities.

The one reader that has to look at every file: it walks each local file system once a day, in
slices, never into another mount, and reads the attribute of what can be executed. Source: stat(2),
capabilities(7), execve(2).
"""

import os
import stat
from collections.abc import Generator, Iterator
from typing import Final

from msgspec import Struct, structs

from agent.hostroot import READ_FLAGS, HostFileError, HostFileMissing, HostRoot
from agent.sense.mechanisms import CUT, FILE_CAPABILITY, SUID_FILE
from agent.sense.sensors.persist.filecaps import (
    XATTR,
    XATTR_BYTES_MAX,
    CapabilityDamaged,
    parse,
)
from agent.sense.sensors.persist.items import Entry, Found, plain
from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.places import Places, below
from certs.digests import Sha256
from proto.model import User

HASH_BYTES_MAX: Final = 64 << 20
SLICE_BYTES: Final = 256 * 1024

_STEPS_A_SLICE: Final = 64
_SPECIAL: Final = stat.S_ISUID | stat.S_ISGID
_EXECUTABLE: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
_FLAGS: Final = READ_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW


class Area(Struct, frozen=True):
    """Where a walk goes: mounts, directories it leaves out, entries it looks at."""

    places: Places
    exclude: frozenset[str]
    entries_max: int


def walk(look: Look, host: HostRoot, area: Area) -> Iterator[Found | None]:
    """Yield each file with special rights; None between slices.

    Args:
        look: takes what could not be listed.
        host: the only way to its files.
        area: where to go.
    """
    left = area.entries_max
    for start in area.places.starts:
        if below(start, area.exclude):
            continue
        stack = [start.rstrip("/")]
        while stack:
            directory = stack.pop()
            yield None
            if left <= 0:
                look.is_partial = True
                look.cannot("the walk", f"ended after {area.entries_max} entries")
                return
            left -= 1
            try:
                fd = host.open(directory or "/", _FLAGS)
            except HostFileMissing:
                continue
            except HostFileError as error:
                look.cannot(directory or "/", error.message.rpartition(": ")[2])
                continue
            try:
                left -= yield from _entries(look, fd, directory, (stack, area))
            except OSError as error:
                look.cannot(directory or "/", os.strerror(error.errno or 0).lower())
            finally:
                os.close(fd)


def _entries(
    look: Look, fd: int, directory: str, ahead: tuple[list[str], Area]
) -> Generator[Found | None, None, int]:
    """Look at one directory; put those below on the stack and return how many entries it has."""
    stack, area = ahead
    points = area.places.points
    may_be_point = directory in area.places.parents
    count = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            count += 1
            if count % _STEPS_A_SLICE == 0:
                yield None
            # A mount point is never asked for its own metadata: its server might not answer.
            if entry.is_dir(follow_symlinks=False):
                path = f"{directory}/{entry.name}"
                if path not in points and path not in area.exclude:
                    stack.append(path)
            elif entry.is_file(follow_symlinks=False) and not (
                may_be_point and f"{directory}/{entry.name}" in points
            ):
                seen = _stat_of(entry)
                if seen is not None and seen.st_mode & _EXECUTABLE:
                    yield from _lent(look, fd, f"{directory}/{entry.name}", seen)
    return count


def _stat_of(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None  # gone meanwhile


def _lent(look: Look, fd: int, path: str, seen: os.stat_result) -> Iterator[Found | None]:
    """Yield what an executable file lends to whoever runs it."""
    name = path.rpartition("/")[2]
    if seen.st_mode & _SPECIAL:
        value = f"mode={stat.S_IMODE(seen.st_mode):04o} uid={seen.st_uid} gid={seen.st_gid}"
        yield from _found(fd, path, seen, Entry(SUID_FILE, name, value))
    try:
        raw = os.getxattr(f"/proc/self/fd/{fd}/{name}", XATTR, follow_symlinks=False)
    except OSError:
        return  # it has none, or its file system knows of none
    try:
        value = parse(raw[:XATTR_BYTES_MAX]).text
    except CapabilityDamaged:
        look.odd += 1
        value = f"unreadable, {len(raw)} bytes"
    yield from _found(fd, path, seen, Entry(FILE_CAPABILITY, name, value))


def _found(fd: int, path: str, seen: os.stat_result, entry: Entry) -> Iterator[Found | None]:
    sha256 = yield from _sha256(fd, path.rpartition("/")[2])
    caveats = (CUT,) if sha256 is None else ()
    owner = User(uid=seen.st_uid)
    found = plain(path, seen.st_ctime_ns, structs.replace(entry, user=owner, caveats=caveats))
    if sha256 is not None:
        found = structs.replace(found, item=structs.replace(found.item, sha256=sha256))
    yield found


def _sha256(directory: int, name: str) -> Generator[None, None, bytes | None]:
    """Hash a regular file in slices; None where that cannot be, or not to its end."""
    try:
        fd = os.open(name, READ_FLAGS | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        digest = Sha256()
        left = HASH_BYTES_MAX
        while data := os.read(fd, SLICE_BYTES):
            digest.update(data)
            left -= len(data)
            if left <= 0:
                return None
            if len(data) == SLICE_BYTES:
                yield
        return digest.digest()
    except OSError:
        return None
    finally:
        os.close(fd)
