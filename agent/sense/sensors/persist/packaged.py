"""Which package of dpkg an entry's file belongs to, and whether it is as the package brought it.

One pass over the lists of files answers for any number of paths, so it is asked once for all that
is new. A file's MD5 is compared with the package's own list, a configuration file's with the status
file. dpkg keeps no modes: rights that were given later than the installation are told by time.
Source: dpkg(1), deb-md5sums(5), deb-conffiles(5).
"""

import hashlib
import os
from collections.abc import Generator, Iterator, Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.hostroot import HostFileError, HostRoot
from agent.sense.mechanisms import LATER, MODIFIED, UNVERIFIED
from agent.sense.sensors import dpkg

INFO: Final = "/var/lib/dpkg/info"
LIST_BYTES_MAX: Final = 16 << 20
HASH_BYTES_MAX: Final = 64 << 20
LISTS_MAX: Final = 20_000
# A package's own scripts give rights while it is installed.
SETTLED_NS: Final = 600 * 1_000_000_000

_SLICE_BYTES: Final = 256 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_FEW: Final = 8
_MERGED: Final = ("/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/")


class Origin(Struct, frozen=True):
    """What dpkg says of a path; ``package`` is None where it is in none, UNSET without dpkg."""

    package: str | UnsetType | None = UNSET
    caveats: tuple[str, ...] = ()


def origins(host: HostRoot, paths: Mapping[str, int]) -> Generator[None, None, dict[str, Origin]]:
    """Return the origin of each path; yields between slices.

    Args:
        host: the only way to its files.
        paths: absolute, each with the ctime of its file; 0 where that says nothing.
    """
    lists = _lists(host)
    if lists is None:
        return {path: Origin() for path in paths}
    owners = yield from _owners(host, lists, list(paths))
    status = _status(host) if owners else b""
    found: dict[str, Origin] = {}
    for path, changed in paths.items():
        yield
        owner = owners.get(path)
        if owner is None:
            found[path] = Origin(None)
            continue
        caveats = yield from _compared(host, path, owner, status)
        if changed > _installed(host, owner) + SETTLED_NS:
            caveats += (LATER,)
        found[path] = Origin(owner.partition(":")[0], caveats)
    return found


def aliases(path: str) -> tuple[str, ...]:
    """Return the names a file may have in a list: with and without ``/usr`` where these are one."""
    if path.startswith("/usr/") and path[4:].startswith(_MERGED):
        return path, path[4:]
    if path.startswith(_MERGED):
        return path, f"/usr{path}"
    return (path,)


def digest_in(md5sums: bytes, path: str) -> bytes | None:
    """Return the digest that a package's list has for a path.

    Args:
        md5sums: untrusted; lines of 32 hex digits, two spaces, a path without its first slash.
        path: absolute.
    """
    return _before(b"\n" + md5sums, b"  " + os.fsencode(path.lstrip("/")) + b"\n")


def digest_of_conffile(status: bytes, path: str) -> bytes | None:
    """Return the digest that dpkg's status has for a configuration file.

    Args:
        status: untrusted; lines of a space, the path, a space, 32 hex digits.
        path: absolute.
    """
    key = b"\n " + os.fsencode(path) + b" "
    at = status.find(key)
    digest = status[at + len(key) :][:32] if at >= 0 else b""
    return digest if len(digest) == 32 else None


def _before(data: bytes, key: bytes) -> bytes | None:
    at = data.find(key)
    if at < 33 or data[at - 33 : at - 32] != b"\n":
        return None
    return data[at - 32 : at]


def _lists(host: HostRoot) -> list[str] | None:
    try:
        names = [entry.name for entry in host.scandir(INFO) if entry.name.endswith(".list")]
    except (HostFileError, OSError):
        return None
    return names[:LISTS_MAX]


def _owners(
    host: HostRoot, lists: list[str], paths: list[str]
) -> Generator[None, None, dict[str, str]]:
    """Return path and package, the first that lists it."""
    wanted = {os.fsencode(alias): path for path in paths for alias in aliases(path)}
    owners: dict[str, str] = {}
    for name in lists:
        yield
        for lines in _chunks(host, f"{INFO}/{name}"):
            if len(wanted) <= _FEW:
                hits = [alias for alias in wanted if b"\n" + alias + b"\n" in lines]
            else:
                hits = list(wanted.keys() & lines.split(b"\n"))
            for alias in hits:
                owners.setdefault(wanted[alias], name.removesuffix(".list"))
    return owners


def _chunks(host: HostRoot, path: str) -> Iterator[bytes]:
    """Yield a file in parts of whole lines, each between two line ends; nothing of one unreadable.

    The lists of a large package are larger than all that this process holds besides.
    """
    try:
        fd = host.open_file(path)
    except HostFileError:
        return
    rest, left = b"\n", LIST_BYTES_MAX
    try:
        while left > 0 and (data := os.read(fd, _CHUNK_BYTES)):
            left -= len(data)
            whole, end, cut = (rest + data).rpartition(b"\n")
            yield whole + end
            rest = b"\n" + cut[:_CHUNK_BYTES]
        yield rest + b"\n"
    except OSError:
        return
    finally:
        os.close(fd)


def _status(host: HostRoot) -> bytes:
    try:
        return host.read_bytes(dpkg.STATUS_PATH, dpkg.STATUS_BYTES_MAX)
    except HostFileError:
        return b""


def _compared(
    host: HostRoot, path: str, owner: str, status: bytes
) -> Generator[None, None, tuple[str, ...]]:
    expected = None
    for lines in _chunks(host, f"{INFO}/{owner}.md5sums"):
        yield
        for alias in aliases(path):
            expected = expected or digest_in(lines, alias)
    for alias in aliases(path):
        expected = expected or digest_of_conffile(status, alias)
    if expected is None:
        return (UNVERIFIED,)
    found = yield from _md5(host, path)
    if found is None:
        return (UNVERIFIED,)
    return () if found == expected else (MODIFIED,)


def _md5(host: HostRoot, path: str) -> Generator[None, None, bytes | None]:
    """Hash a file in slices; None where that cannot be."""
    digest = hashlib.md5(usedforsecurity=False)
    left = HASH_BYTES_MAX
    try:
        fd = host.open_file(path)
    except HostFileError:
        return None
    try:
        while left > 0 and (data := os.read(fd, _SLICE_BYTES)):
            digest.update(data)
            left -= len(data)
            if len(data) == _SLICE_BYTES:
                yield
    except OSError:
        return None
    finally:
        os.close(fd)
    return digest.hexdigest().encode() if left > 0 else None


def _installed(host: HostRoot, owner: str) -> int:
    """Return when the package's list of files was written; far ahead where that is not known."""
    try:
        return host.stat(f"{INFO}/{owner}.list").st_mtime_ns
    except HostFileError:
        return 1 << 62
