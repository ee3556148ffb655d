"""Installed Debian packages, read from dpkg's status file in pure Python.

A stanza is a run of ``Field: value`` lines up to an empty line; a line that begins with a space or
a tab continues the field before it and is never a field itself, whatever it says. A stanza that
does not name a package, or names it outside the grammar, is skipped and counted.

Source: deb-control(5), dpkg(1) "package states".
"""

import re
from collections.abc import Generator, Iterator
from typing import Final

from msgspec import Struct

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.listings import Listed, Look, Thing, Things, Unread, key_of, stamp_of
from agent.sense.sensors.replacewatch import ReplaceWatch
from proto.model import Package

STATUS_PATH: Final = "/var/lib/dpkg/status"
STATUS_BYTES_MAX: Final = 16 * 1024 * 1024
STANZA_BYTES_MAX: Final = 256 * 1024
PACKAGES_MAX: Final = 20_000

# States in which files of the package are on the host; "config-files" and "not-installed" are not.
PRESENT_STATES: Final = frozenset(
    {
        b"half-installed",
        b"unpacked",
        b"half-configured",
        b"triggers-awaited",
        b"triggers-pending",
        b"installed",
    }
)

_GAP: Final = re.compile(rb"\n{2,}")
_WANTED: Final = frozenset({b"package", b"status", b"version", b"architecture"})
_NAME: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9+.\-]{0,254}")
_VERSION: Final = re.compile(rb"[A-Za-z0-9.+~:\-]{0,255}")
_ARCHITECTURE: Final = re.compile(rb"[a-z0-9\-]{0,64}")


class Stanza(Struct, frozen=True):
    """What one stanza gave: a package that is present, nothing, or something odd."""

    package: Package | None
    is_odd: bool = False


class DpkgListing:
    """What dpkg's status file names.

    Args:
        host: the only way to it.
        interval_s: how often to look without being woken by its replacement.
    """

    name = "deb"
    coverage = "packages that dpkg installed"

    def __init__(self, host: HostRoot, interval_s: int) -> None:
        self.interval_s = interval_s
        self.watch: ReplaceWatch | None = ReplaceWatch(host, STATUS_PATH)
        self._host = host

    def look(self) -> Look:
        """Return what moves when dpkg replaces the file.

        Raises:
            Unread: there is none, or it cannot be reached.
        """
        try:
            seen = self._host.stat(STATUS_PATH)
        except HostFileError as error:
            is_absent = isinstance(error, HostFileMissing)
            raise Unread(error.message, is_absent=is_absent) from error
        return Look(stamp_of([seen]), seen.st_mtime_ns)

    def read(self) -> Generator[None, None, Listed]:
        """Read the file, a package a step.

        Raises:
            Unread: it cannot be read, or cannot be believed to name all packages.
        """
        try:
            data = self._host.read_bytes(STATUS_PATH, STATUS_BYTES_MAX)
        except HostFileError as error:
            raise Unread(error.message) from error
        found: Things = {}
        odd = 0
        for stanza in stanzas(data):
            yield
            odd += stanza.is_odd
            if (package := stanza.package) is not None:
                found[key_of(package.name, package.architecture)] = package
            if len(found) > PACKAGES_MAX:
                raise Unread(f"more than {PACKAGES_MAX} packages")
        if not found:
            raise Unread(f"{STATUS_PATH} names no package")
        return Listed(found, odd)

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Return whether they are equal."""
        return before == now

    def fresh(self, thing: Thing) -> Thing:
        """Return the package as it is: nothing of it changes all the time."""
        return thing


def stanzas(data: bytes) -> Iterator[Stanza]:
    """Yield one result a stanza, so that a caller can stop between any two.

    Args:
        data: untrusted bytes of a status file.
    """
    at = 0
    while at < len(data):
        gap = _GAP.search(data, at)
        end = gap.start() if gap else len(data)
        text = data[at : min(end, at + STANZA_BYTES_MAX)]
        at = gap.end() if gap else end
        if text.strip():
            yield _stanza(text)


def packages(data: bytes) -> list[Package]:
    """Return the packages present, at most `PACKAGES_MAX`, in the order of the file."""
    found = (stanza.package for stanza in stanzas(data))
    present = [package for package in found if package is not None]
    return present[:PACKAGES_MAX]


def _stanza(text: bytes) -> Stanza:
    fields: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and (key := name.lower()) in _WANTED:
            fields.setdefault(key, value.strip())
    words = fields.get(b"status", b"").split()
    if len(words) != 3:
        return Stanza(None, is_odd=True)
    if words[2] not in PRESENT_STATES:
        return Stanza(None)
    return _package(fields, words[2])


def _package(fields: dict[bytes, bytes], state: bytes) -> Stanza:
    name = fields.get(b"package", b"")
    version = fields.get(b"version", b"")
    architecture = fields.get(b"architecture", b"")
    if not (
        _NAME.fullmatch(name)
        and _VERSION.fullmatch(version)
        and _ARCHITECTURE.fullmatch(architecture)
    ):
        return Stanza(None, is_odd=True)
    return Stanza(
        Package("deb", name.decode(), version.decode(), architecture.decode(), state.decode())
    )
