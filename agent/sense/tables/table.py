"""What a table is, and what it is filled from.

A row holds what was read, under stable names. A value that was not collected is left out; one that
was looked for and is not there is None. What kept a table from being whole is noted beside it:
there is no empty table that only looks like a clean host.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct

from agent.hostroot import HostEntry, HostFileError, HostFileMissing, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.packages import PackageSettings
from agent.sense.sensors.persist.settings import PersistenceSettings
from runtime.clock import Clock

Row = dict[str, object]
FILE_BYTES_MAX: Final = 1 << 20
TEXT_CHARS_MAX: Final = 1024
PATH_CHARS_MAX: Final = 4096
PROBLEMS_MAX: Final = 20


class TableSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What `ls` is told; a table of the host needs nothing else."""

    # Files and directories in which certificates are looked for.
    certificate_paths: Annotated[tuple[str, ...], Meta(max_length=64)] = (
        "/etc/letsencrypt/live",
        "/etc/ssl/certs",
        "/etc/pki/tls/certs",
        "/etc/nginx",
        "/etc/apache2",
        "/etc/httpd",
        "/etc/haproxy",
        "/etc/postfix",
        "/etc/dovecot",
        "/etc/kubernetes/pki",
        "/var/lib/kubelet/pki",
        "/etc/docker/certs.d",
    )


class Sources(Struct, frozen=True):
    """Where the sensors look: a table of theirs looks there too."""

    packages: PackageSettings = PackageSettings()
    files: FileSettings = FileSettings()
    persistence: PersistenceSettings = PersistenceSettings()


class Looking:
    """What a table is filled from; ``problems`` says what could not be read.

    Args:
        host: the only way to the host's files.
        clock: for what depends on the time.
        settings: of the tables.
        sources: of the sensors.
    """

    def __init__(
        self,
        host: HostRoot,
        clock: Clock,
        settings: TableSettings | None = None,
        sources: Sources | None = None,
    ) -> None:
        self.host = host
        self.clock = clock
        self.settings = settings or TableSettings()
        self.sources = sources or Sources()
        self.problems: list[str] = []
        self._more = 0

    def missed(self, what: str) -> None:
        """Note that something could not be read; the first few are kept, the rest counted."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(what)
            return
        self._more += 1
        self.problems[-1] = f"and {self._more + 1} more could not be read"

    def need(self, path: str, size_bytes_max: int = FILE_BYTES_MAX) -> bytes | None:
        """Return a file without which something is missing; None where it cannot be read."""
        try:
            return self.host.read_bytes(path, size_bytes_max)
        except HostFileError as error:
            self.missed(error.message)
            return None

    def maybe(self, path: str, size_bytes_max: int = FILE_BYTES_MAX) -> bytes | None:
        """Return a file that a host may well be without; only a refusal is noted."""
        try:
            return self.host.read_bytes(path, size_bytes_max)
        except HostFileMissing:
            return None
        except HostFileError as error:
            self.missed(error.message)
            return None

    def text(self, path: str) -> str | None:
        """Return a small file as one stripped text; None where there is none or it is closed."""
        try:
            return as_text(self.host.read_bytes(path, FILE_BYTES_MAX).strip())
        except HostFileError:
            return None

    def is_there(self, path: str) -> bool:
        """Tell whether there is anything at a path; a refusal is noted and taken for no."""
        try:
            self.host.stat(path)
        except HostFileMissing:
            return False
        except HostFileError as error:
            self.missed(error.message)
            return False
        return True

    def entries(self, path: str) -> list[str]:
        """Return the names in a directory that a host may be without, in order."""
        return [entry.name for entry in self.listed(path)]

    def listed(self, path: str) -> list[HostEntry]:
        """Return the entries of a directory that a host may be without, by name."""
        try:
            return sorted(self.host.scandir(path), key=lambda entry: os.fsencode(entry.name))
        except HostFileMissing:
            return []
        except HostFileError as error:
            self.missed(error.message)
            return []


class Table(Struct, frozen=True):
    """A table: what it shows, what its columns mean, who fills it, and what a person sees of it."""

    text: str
    columns: Mapping[str, str]
    rows: Callable[[Looking], Iterator[Row]]
    # The columns shown to people; all where empty.
    shown: tuple[str, ...] = ()
    # Whether it asks the kernel that runs us, which is not that of every tree of files.
    is_live: bool = False


def as_text(data: bytes | str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Return host bytes as bounded text."""
    return host_text(data, chars_max)


def collected(row: Row) -> Row:
    """Return a row without what was not collected."""
    return {name: value for name, value in row.items() if value is not UNSET}


def number(text: bytes | str, digits_max: int = 19) -> int | None:
    """Return a decimal number of the host, or None where it is none."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    return int(raw) if raw.isdigit() and len(raw) <= digits_max else None
