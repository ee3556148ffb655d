"""Node packages, from the ``package.json`` of each directory below a ``node_modules``.

Looked at are the directories of globally installed packages and those of projects that the settings
name. A package may bring others in a ``node_modules`` of its own, so one name may be there many
times. Depth, number and bytes are bounded; the script and test files of a package are never read.

Source: npm "folders", "package.json"; the hidden lock file ``.package-lock.json`` is written anew
whenever npm changes a project's tree.
"""

import contextlib
import os
import re
import stat
from collections.abc import Generator, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from agent.hostroot import HostFileError, HostFileMissing, HostFileNotRegular, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.listings import Listed, Look, Thing, Things, Unread, key_of, stamp_of
from agent.sense.sensors.replacewatch import ReplaceWatch
from proto.model import Package

ROOTS: Final = ("/usr/lib/node_modules", "/usr/local/lib/node_modules")
PACKAGES_MAX: Final = 10_000
DIRECTORIES_MAX: Final = 20_000
DEPTH_MAX: Final = 12
FILE_BYTES_MAX: Final = 256 * 1024

_MODULES: Final = "node_modules"
_LOCK: Final = ".package-lock.json"
_PATH_CHARS_MAX: Final = 4096
_NAME: Final = re.compile(r"(?:@[A-Za-z0-9~._-]{1,100}/)?[A-Za-z0-9~_.-]{1,150}")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+-]{1,128}")


class _Manifest(Struct, frozen=True):
    name: str = ""
    version: str = ""


_decoder = msgspec.json.Decoder(_Manifest)


class NpmListing:
    """What is installed for Node.

    Args:
        host: the only way to it.
        interval_s: how often to look.
        projects: directories that hold a node_modules.
    """

    name = "npm"
    coverage = "packages with a manifest in known directories"
    watch: ReplaceWatch | None = None

    def __init__(self, host: HostRoot, interval_s: int, projects: Sequence[str]) -> None:
        self.interval_s = interval_s
        self._host = host
        self._roots = (*ROOTS, *(f"{project.rstrip('/')}/{_MODULES}" for project in projects))

    def look(self) -> Look:
        """Return what moves when npm installs or removes: times of a root, its scopes, its lock.

        Raises:
            Unread: there is no such directory.
        """
        seen = []
        is_whole = True
        for root in self._roots:
            try:
                seen.append(self._host.stat(root))
                scopes = [name for name in self._names(root) if name.startswith("@")]
                seen += [self._host.stat(f"{root}/{name}") for name in scopes]
                with contextlib.suppress(HostFileMissing):  # global packages have none
                    seen.append(self._host.stat(f"{root}/{_LOCK}"))
            except HostFileMissing:
                continue
            except HostFileError:
                is_whole = False
        if not seen and is_whole:
            raise Unread("no directory of Node packages", is_absent=True)
        return Look(stamp_of(seen) if is_whole else b"")

    def read(self) -> Generator[None, None, Listed]:
        """Read the manifests, a directory a step.

        Raises:
            Unread: there are more than are held.
        """
        found: Things = {}
        problem = ""
        odd = 0
        stack = [(root, 0) for root in reversed(self._roots)]
        seen = 0
        while stack:
            yield
            folder, depth = stack.pop()
            seen += 1
            if seen > DIRECTORIES_MAX or len(found) > PACKAGES_MAX:
                raise Unread("more Node packages than are held")
            try:
                places = list(self._packages(folder))
            except HostFileMissing:
                continue
            except HostFileError as error:
                problem = problem or error.message
                continue
            for place in places:
                yield
                data = self._manifest(place)
                package = None if data is None else parse_manifest(data, place)
                odd += data is not None and package is None
                if package is not None:
                    found[key_of(package.name, place, package.version)] = package
                if depth < DEPTH_MAX and self._is_dir(f"{place}/{_MODULES}"):
                    stack.append((f"{place}/{_MODULES}", depth + 1))
        return Listed(found, odd, problem)

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Return whether they are equal."""
        return before == now

    def fresh(self, thing: Thing) -> Thing:
        """Return the package as it is: nothing of it changes all the time."""
        return thing

    def _names(self, folder: str) -> list[str]:
        """Return the directories of a directory; links lead to what is listed where it lies."""
        try:
            return sorted(e.name for e in self._host.scandir(folder) if e.is_dir())
        except OSError as error:  # some file systems say what an entry is only when asked for it
            what = os.strerror(error.errno or 0).lower()
            raise HostFileError(folder, what, error.errno or 0) from error

    def _packages(self, folder: str) -> Iterator[str]:
        for name in self._names(folder):
            if name.startswith("."):
                continue
            if not name.startswith("@"):
                yield f"{folder}/{name}"
                continue
            for inner in self._names(f"{folder}/{name}"):
                yield f"{folder}/{name}/{inner}"

    def _is_dir(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._host.stat(path, follow=False).st_mode)
        except HostFileError:
            return False

    def _manifest(self, place: str) -> bytes | None:
        """Return a manifest; None where there is none, empty where it is closed or too large."""
        try:
            return self._host.read_bytes(f"{place}/package.json", FILE_BYTES_MAX)
        except (HostFileMissing, HostFileNotRegular):
            return None
        except HostFileError:
            return b""


def parse_manifest(data: bytes, place: str) -> Package | None:
    """Return the package that a manifest names; None where it names none.

    Args:
        data: untrusted bytes.
        place: the directory it lies in.
    """
    try:
        manifest = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not (_NAME.fullmatch(manifest.name) and _VERSION.fullmatch(manifest.version)):
        return None
    path = host_text(place, _PATH_CHARS_MAX)
    return Package("npm", manifest.name, manifest.version, path=path)
