"""Installed rpm packages, read from rpm's database without rpm.

Since 4.16 rpm keeps an SQLite file with one header a package. The older forms, Berkeley DB and
ndb, are not read: that is said, and nothing is taken for gone.
"""

import contextlib
import os
from collections.abc import Generator
from typing import Final

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.listings import Listed, Look, Thing, Things, Unread, key_of, stamp_of
from agent.sense.sensors.replacewatch import ReplaceWatch
from agent.sense.sensors.rpmheader import NotRpmHeader, parse_package
from agent.sense.sensors.sqlitefile import NotSqlite, SqliteFile, Value

FOLDERS: Final = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
SQLITE_NAME: Final = "rpmdb.sqlite"
# What other forms of the database are called.
UNREAD_NAMES: Final = {"Packages.db": "ndb", "Packages": "Berkeley DB"}
TABLE: Final = "Packages"
PACKAGES_MAX: Final = 20_000


class RpmListing:
    """What rpm's database names.

    Args:
        host: the only way to it.
        interval_s: how often to look.
    """

    name = "rpm"
    coverage = "packages that rpm installed"
    watch: ReplaceWatch | None = None

    def __init__(self, host: HostRoot, interval_s: int) -> None:
        self.interval_s = interval_s
        self._host = host

    def look(self) -> Look:
        """Return what moves when rpm writes.

        Raises:
            Unread: there is no database, or one of another form.
        """
        path = self._path()
        try:
            seen = [self._host.stat(path)]
            with contextlib.suppress(HostFileMissing):  # all written has been moved into the file
                seen.append(self._host.stat(f"{path}-wal"))
        except HostFileError as error:
            raise Unread(error.message) from error
        return Look(stamp_of(seen), max(one.st_mtime_ns for one in seen))

    def read(self) -> Generator[None, None, Listed]:
        """Read the database, a package a step.

        Raises:
            Unread: it is damaged, or was written meanwhile.
        """
        before = self.look()
        path = self._path()
        fds: list[int] = []
        try:
            fds.append(self._host.open_file(path))
            with contextlib.suppress(HostFileMissing):
                fds.append(self._host.open_file(f"{path}-wal"))
            listed = yield from _read(SqliteFile(fds[0], fds[1] if len(fds) > 1 else None))
        except (HostFileError, NotSqlite) as error:
            raise Unread(f"{path}: {error.message}") from error
        except OSError as error:
            raise Unread(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
        finally:
            for fd in fds:
                os.close(fd)
        if self.look() != before:
            raise Unread(f"{path} was written while it was read")
        if not listed.things:
            raise Unread(f"{path} names no package", is_absent=True)
        return listed

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Return whether they are equal."""
        return before == now

    def fresh(self, thing: Thing) -> Thing:
        """Return the package as it is: nothing of it changes all the time."""
        return thing

    def _path(self) -> str:
        refusal = ""
        for folder in FOLDERS:
            for name in (SQLITE_NAME, *UNREAD_NAMES):
                try:
                    self._host.stat(f"{folder}/{name}")
                except HostFileMissing:
                    continue
                except HostFileError as error:
                    raise Unread(error.message) from error
                if name == SQLITE_NAME:
                    return f"{folder}/{name}"
                refusal = f"{folder}/{name}: a database of the form {UNREAD_NAMES[name]}"
        if refusal:
            raise Unread(f"{refusal} is not read")
        raise Unread(f"{FOLDERS[-1]}/{SQLITE_NAME}: no such file or directory", is_absent=True)


def _read(file: SqliteFile) -> Generator[None, None, Listed]:
    found: Things = {}
    odd = 0
    for columns in file.rows(TABLE):
        yield
        blob = columns[1] if len(columns) > 1 else None
        try:
            package = parse_package(blob.read if isinstance(blob, Value) else _nothing)
        except NotRpmHeader:
            odd += 1
            continue
        # Several versions of one package may be installed side by side, such as kernels.
        found[key_of(package.name, package.architecture, package.version)] = package
        if len(found) > PACKAGES_MAX:
            raise Unread(f"more than {PACKAGES_MAX} packages")
    return Listed(found, odd)


def _nothing(_at: int, _count: int) -> bytes:
    return b""
