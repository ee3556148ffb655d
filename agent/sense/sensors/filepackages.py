"""Which package a file came with and what it was then, from the lists of digests that dpkg keeps.

The lists of a host hold a hundred thousand paths, of which few are watched; those are kept as one
sorted run of bytes, 26 for a file. A conffile has an owner but no digest: it is meant to be
changed. A diverted path belongs to whoever diverted it, and what was diverted lies elsewhere.

Source: dpkg(1), dpkg-divert(1), deb-md5sums(5), deb-conffiles(5).
"""

import binascii
import bisect
import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from msgspec import Struct

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors import dpkg

INFO_PATH: Final = b"/var/lib/dpkg/info"
DIVERSIONS_PATH: Final = b"/var/lib/dpkg/diversions"
LIST_BYTES_MAX: Final = 32 * 1024 * 1024
BLOCK_BYTES: Final = 64 * 1024
DIVERSIONS_MAX: Final = 65_536
FILES_MAX: Final = 1_000_000

_KEY_BYTES: Final = 8
_OWNER_BYTES: Final = 2
_DIGEST_BYTES: Final = 16
_ENTRY_BYTES: Final = _KEY_BYTES + _OWNER_BYTES + _DIGEST_BYTES
_UNJUDGED: Final = bytes(_DIGEST_BYTES)
_PACKAGE_CHARS_MAX: Final = 256
_HALF: Final = "half-installed"
# Directories at the root that may be links into /usr: packages name files through either.
_MERGED: Final = (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32", b"libo32")
_DIGEST_LINE: Final = re.compile(rb"^([0-9a-f]{32})  ([^\n]+)$", re.MULTILINE)
_CONFFILE_LINE: Final = re.compile(rb"^(?:remove-on-upgrade )?/([^\n]+)$", re.MULTILINE)

Directories = Callable[[bytes], bool]


class Packaged(Struct, frozen=True):
    """The package of a file and the digests (MD5) it may have; none where it is not judged."""

    name: str
    digests: tuple[bytes, ...]


class PackageIndex:
    """Paths and what they were packaged as.

    Args:
        entries: key, number of the package and digest, one after the other; sorted.
        names: of the packages.
    """

    def __init__(self, entries: bytes = b"", names: tuple[str, ...] = ()) -> None:
        self._entries = entries
        self._names = names
        self._places = range(len(entries) // _ENTRY_BYTES)

    def __len__(self) -> int:
        return len(self._places)

    def find(self, path: bytes) -> Packaged | None:
        """Return whose file the path is; None where no package lists it."""
        key = _key_of(path)
        at = bisect.bisect_left(self._places, key, key=self._key_at)
        owner, digests = -1, []
        while at < len(self._places) and self._key_at(at) == key:
            begin = at * _ENTRY_BYTES + _KEY_BYTES
            body = self._entries[begin : begin + _OWNER_BYTES + _DIGEST_BYTES]
            owner = int.from_bytes(body[:_OWNER_BYTES], "big")
            digests.append(body[_OWNER_BYTES:])
            at += 1
        if owner < 0:
            return None
        is_judged = _UNJUDGED not in digests
        return Packaged(self._names[owner], tuple(digests) if is_judged else ())

    def _key_at(self, place: int) -> bytes:
        return self._entries[place * _ENTRY_BYTES : place * _ENTRY_BYTES + _KEY_BYTES]


class Diversion(Struct, frozen=True):
    """Where a path was moved to and for which package; None for the administrator."""

    to: bytes
    package: str | None


def read_index(host: HostRoot, wanted: Directories) -> Generator[None, None, PackageIndex]:
    """Read the lists of every package that is wholly installed, one a step.

    Args:
        host: the only way to dpkg's files.
        wanted: tells whether files of a directory are of interest.

    Raises:
        HostFileError: dpkg's status or its lists cannot be read.
    """
    half = yield from _half_installed(host)
    merged = _merged(host)
    diverted = _read_diversions(host)
    conffiles: dict[bytes, bytes] = {}
    numbers: dict[str, int] = {}
    entries: set[bytes] = set()
    for name, kind in _lists(host):
        yield
        package = host_text(name.partition(b":")[0], _PACKAGE_CHARS_MAX)
        if package in half or len(numbers) >= 1 << 8 * _OWNER_BYTES:
            continue
        owner = numbers.setdefault(package, len(numbers)).to_bytes(_OWNER_BYTES, "big")
        places = _Places(wanted, merged, diverted, package)
        for block in _blocks(host, name + b"." + kind):
            yield
            if kind == b"conffiles":
                conffiles |= {_key_of(p): owner for p in map(places.one, conffiles_in(block)) if p}
            elif len(entries) < FILES_MAX:
                for digest, path in digests_in(block):
                    if place := places.one(path):
                        entries.add(_key_of(place) + owner + digest)
    if conffiles:
        entries = {entry for entry in entries if entry[:_KEY_BYTES] not in conffiles}
        entries |= {key + owner + _UNJUDGED for key, owner in conffiles.items()}
    return PackageIndex(b"".join(sorted(entries)), tuple(numbers))


def digests_in(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield digest and path (without its first slash) of each line of a list of digests.

    A line whose name is escaped, or that is none, is passed over: its file is not judged.
    """
    for found in _DIGEST_LINE.finditer(data):
        yield binascii.unhexlify(found[1]), found[2]


def conffiles_in(data: bytes) -> Iterator[bytes]:
    """Yield the paths of a list of conffiles, without their first slash."""
    for found in _CONFFILE_LINE.finditer(data):
        yield found[1]


def diversions_in(data: bytes) -> dict[bytes, Diversion]:
    """Return what was moved aside, by its path; three lines each: from, to, for whom."""
    lines = data.split(b"\n")
    found: dict[bytes, Diversion] = {}
    for at in range(0, min(len(lines), 3 * DIVERSIONS_MAX) - 2, 3):
        path, to, package = lines[at : at + 3]
        if path.startswith(b"/") and to.startswith(b"/"):
            name = None if package == b":" else host_text(package, _PACKAGE_CHARS_MAX)
            found[path] = Diversion(to, name)
    return found


class _Places:
    """Where the files of one package lie, for those that are of interest."""

    def __init__(
        self,
        wanted: Directories,
        merged: Mapping[bytes, bytes],
        diverted: Mapping[bytes, Diversion],
        package: str,
    ) -> None:
        self._wanted = wanted
        self._merged = merged
        self._diverted = diverted
        self._package = package
        self._before = b""
        self._prefix: bytes | None = None

    def one(self, path: bytes) -> bytes | None:
        """Return where the file of this name is; None for one of no interest."""
        moved = self._diverted.get(b"/" + path) if self._diverted else None
        if moved is not None and moved.package != self._package:
            path = moved.to[1:]
        directory, _, name = path.rpartition(b"/")
        if directory != self._before or self._prefix is None:
            # Lists are sorted by directory: most lines ask the same as the line before.
            self._before, self._prefix = directory, self._canonical(directory)
        return self._prefix + name if self._prefix and name else None

    def _canonical(self, directory: bytes) -> bytes:
        top, slash, rest = directory.partition(b"/")
        here = b"/" + self._merged.get(top, top) + slash + rest
        return here.rstrip(b"/") + b"/" if self._wanted(here) else b""


def _lists(host: HostRoot) -> Iterator[tuple[bytes, bytes]]:
    """Yield package (with its architecture) and kind of each list, conffiles included."""
    for entry in host.scandir(INFO_PATH):
        name, _, kind = os.fsencode(entry.name).rpartition(b".")
        if kind in {b"md5sums", b"conffiles"}:
            yield name, kind


def _blocks(host: HostRoot, name: bytes) -> Iterator[bytes]:
    """Yield a list in blocks of whole lines; one that cannot be read on judges nothing more."""
    try:
        fd = host.open_file(INFO_PATH + b"/" + name)
    except HostFileError:
        return
    try:
        rest, left = b"", LIST_BYTES_MAX
        while left > 0 and (data := os.read(fd, BLOCK_BYTES)):
            left -= len(data)
            whole, _, after = (rest + data).rpartition(b"\n")
            rest = after[:BLOCK_BYTES]
            yield whole
        yield rest
    except OSError:
        return
    finally:
        os.close(fd)


def _half_installed(host: HostRoot) -> Generator[None, None, set[str]]:
    """Return the packages of which any file may be the old one or the new one."""
    data = host.read_bytes(dpkg.STATUS_PATH, dpkg.STATUS_BYTES_MAX)
    half: set[str] = set()
    for stanza in dpkg.stanzas(data):
        yield
        if stanza.package is not None and stanza.package.state == _HALF:
            half.add(stanza.package.name)
    return half


def _merged(host: HostRoot) -> dict[bytes, bytes]:
    """Return where the directories at the root lead that are links into /usr."""
    found: dict[bytes, bytes] = {}
    for name in _MERGED:
        try:
            target = os.fsencode(host.readlink(b"/" + name)).strip(b"/")
        except HostFileError:
            continue
        if target == b"usr/" + name:
            found[name] = target
    return found


def _read_diversions(host: HostRoot) -> dict[bytes, Diversion]:
    try:
        return diversions_in(host.read_bytes(DIVERSIONS_PATH, LIST_BYTES_MAX))
    except HostFileError:
        return {}  # most hosts have none


def _key_of(path: bytes) -> bytes:
    return hashlib.blake2b(path, digest_size=_KEY_BYTES).digest()
