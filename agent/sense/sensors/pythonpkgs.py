"""Python packages, from the metadata that installers leave beside them.

Each is a directory ``name-version.dist-info`` with a METADATA, or an older ``.egg-info``, in one of
the interpreters' own directories or of a virtual environment that the settings name. A package in
two directories is there twice. The metadata's header is read, never the package.

Source: Python packaging, "Recording installed projects", "Core metadata", "Version specifiers".
"""

import os
import re
from collections.abc import Generator, Iterator, Sequence
from typing import Final

from agent.hostroot import (
    HostFileError,
    HostFileMissing,
    HostFileNotRegular,
    HostRoot,
    read_at_most,
)
from agent.hosttext import host_text
from agent.sense.sensors.listings import Listed, Look, Thing, Things, Unread, key_of, stamp_of
from agent.sense.sensors.replacewatch import ReplaceWatch
from proto.model import Package

# Directories of interpreters: python3.11 and, for Debian's own packages, python3.
LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
PLACES: Final = ("dist-packages", "site-packages")
PACKAGES_MAX: Final = 10_000
ROOTS_MAX: Final = 512
HEAD_BYTES: Final = 16 * 1024  # the names stand in front

_PATH_CHARS_MAX: Final = 4096
_INTERPRETER: Final = re.compile(r"python3(?:\.[0-9]{1,3}t?)?|pypy3(?:\.[0-9]{1,3})?")
_SUFFIXES: Final = (".dist-info", ".egg-info")
_NAME: Final = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
_VERSION: Final = re.compile(rb"[A-Za-z0-9.!+_*~-]{1,128}")


class PythonListing:
    """What is installed for Python.

    Args:
        host: the only way to it.
        interval_s: how often to look.
        environments: virtual environments to look at beside the interpreters' own directories.
    """

    name = "python"
    coverage = "packages with metadata in known directories"
    watch: ReplaceWatch | None = None

    def __init__(self, host: HostRoot, interval_s: int, environments: Sequence[str]) -> None:
        self.interval_s = interval_s
        self._host = host
        self._environments = environments

    def look(self) -> Look:
        """Return what moves when a package comes or goes: the times of the directories.

        Raises:
            Unread: there is no Python here.
        """
        roots, problem = self._roots()
        if not roots and not problem:
            raise Unread("no directory of Python packages", is_absent=True)
        return Look(b"" if problem else stamp_of(roots.values()))

    def read(self) -> Generator[None, None, Listed]:
        """Read the metadata, a package a step.

        Raises:
            Unread: there are more than are held.
        """
        found: Things = {}
        odd = 0
        roots, problem = self._roots()
        for root in roots:
            try:
                names = sorted(entry.name for entry in self._host.scandir(root))
            except HostFileError as error:
                problem = problem or error.message
                continue
            for name in names:
                if not name.endswith(_SUFFIXES):
                    continue
                yield
                data = self._metadata(f"{root}/{name}")
                package = None if data is None else parse_metadata(data, root)
                odd += data is not None and package is None
                if package is None:
                    continue
                found[key_of(package.name, root, package.version)] = package
                if len(found) > PACKAGES_MAX:
                    raise Unread(f"more than {PACKAGES_MAX} Python packages")
        return Listed(found, odd, problem)

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Return whether they are equal."""
        return before == now

    def fresh(self, thing: Thing) -> Thing:
        """Return the package as it is: nothing of it changes all the time."""
        return thing

    def _roots(self) -> tuple[dict[str, os.stat_result], str]:
        """Return the directories that there are, and what kept us from finding more."""
        libraries = [*LIBRARIES, *(f"{place}/lib" for place in self._environments)]
        found: dict[str, os.stat_result] = {}
        known: set[tuple[int, int]] = set()  # one directory may go by several names
        problem = ""
        for library in libraries:
            try:
                for path, seen in self._places(library):
                    if (seen.st_dev, seen.st_ino) not in known:
                        known.add((seen.st_dev, seen.st_ino))
                        found[path] = seen
            except HostFileError as error:
                problem = problem or error.message
            if len(found) > ROOTS_MAX:
                return found, f"more than {ROOTS_MAX} directories of Python packages"
        return found, problem

    def _places(self, library: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            names = [e.name for e in self._host.scandir(library) if _INTERPRETER.fullmatch(e.name)]
        except HostFileMissing:
            return
        for name in sorted(names):
            for place in PLACES:
                path = f"{library}/{name}/{place}"
                try:
                    yield path, self._host.stat(path)
                except HostFileMissing:
                    continue

    def _metadata(self, path: str) -> bytes | None:
        """Return the head of the metadata; None where there is none, empty where it is closed."""
        for name in ("METADATA", "PKG-INFO", ""):
            try:
                fd = self._host.open_file(f"{path}/{name}".rstrip("/"))
            except (HostFileMissing, HostFileNotRegular):
                continue
            except HostFileError:
                return b""
            try:
                return read_at_most(fd, HEAD_BYTES)
            except OSError:
                return b""
            finally:
                os.close(fd)
        return None


def parse_metadata(data: bytes, root: str) -> Package | None:
    """Return the package that core metadata names; None where it names none.

    Args:
        data: untrusted bytes; only the beginning counts.
        root: the directory it is installed in.
    """
    fields: dict[bytes, bytes] = {}
    for line in data[:HEAD_BYTES].split(b"\n"):
        if not line.strip():
            break  # the description follows: any text
        key, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(key.lower(), value.strip())
    name, version = fields.get(b"name", b""), fields.get(b"version", b"")
    if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version)):
        return None
    # One name has many spellings.
    normal = re.sub(r"[-_.]+", "-", name.decode()).lower()
    return Package("python", normal, version.decode(), path=host_text(root, _PATH_CHARS_MAX))
