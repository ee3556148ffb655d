"""Components probe: whether something is installed, starts at boot, and runs now.

Source: the dpkg status file, systemd's unit directories and their ``.wants`` links, and the names
of running processes. Privilege: none, where /proc shows the processes of others. Misses: what was
installed past the package manager under another path, units enabled only by generators, and what a
running program does: that it runs is all that is said.
"""

import re
import stat
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason

STATUS_BYTES_MAX: Final = 32 * 1024 * 1024
COMM_BYTES_MAX: Final = 64
_UNIT_DIRECTORIES: Final = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_LINK_DIRECTORIES: Final = (".wants", ".requires", ".upholds")
_STANZA: Final = re.compile(
    rb"^Package: ([^\n]+)\n(?:(?:Essential|Protected): [^\n]*\n){0,2}Status: ([^\n]+)\n",
    re.MULTILINE,
)

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9@_.+:-]+$", max_length=64)]
Path = Annotated[str, Meta(pattern=r"^/(usr/)?(local/)?s?bin/[A-Za-z0-9_.+-]+$", max_length=128)]
Words = Annotated[tuple[Word, ...], Meta(max_length=32)]


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """The names that any one form of the component goes by.

    ``programs`` are paths, ``processes`` names as /proc/PID/comm has them: at most 15 characters.
    """

    packages: Words
    programs: Annotated[tuple[Path, ...], Meta(max_length=32)] = ()
    units: Words = ()
    processes: Words = ()


class Facts(Struct, frozen=True):
    """What was found of the names asked for.

    ``installed`` is None where no form was found and the package database could not be read;
    ``running`` is None where the host's processes are hidden from us.
    """

    installed: bool | None
    packages: tuple[str, ...] | None
    programs: tuple[str, ...]
    enabled: tuple[str, ...]
    masked: tuple[str, ...]
    running: tuple[str, ...] | None


def read(parameters: Parameters, reader: HostReader) -> Facts:
    """Return what there is of a component.

    Raises:
        Unseen: a source that the question needs could not be read.
    """
    known = reader.once("dpkg", lambda: _packages(reader))
    packages = None if known is None else _both(parameters.packages, known)
    programs = tuple(path for path in parameters.programs if reader.stat(path) is not None)
    installed = bool(packages or programs) or (None if packages is None else False)
    enabled: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    if parameters.units:
        wanted = reader.once("units", lambda: _wanted_units(reader))
        masked = tuple(unit for unit in sorted(parameters.units) if _is_masked(unit, reader))
        enabled = tuple(unit for unit in _both(parameters.units, wanted) if unit not in masked)
    running = reader.once("processes", lambda: _processes(reader)) if parameters.processes else None
    return Facts(
        installed=installed,
        packages=packages,
        programs=tuple(sorted(programs)),
        enabled=enabled,
        masked=masked,
        running=None if running is None else _both(parameters.processes, running),
    )


def parse_status(data: bytes) -> frozenset[str]:
    """Return the names of installed packages.

    Raises:
        Unseen: the file is empty, or ends within a package.
    """
    if not data.endswith(b"\n\n"):
        raise Unseen(UnknownReason.PARSE, "the package database is empty or cut")
    return frozenset(
        name.decode("utf-8", "backslashreplace")
        for name, status in _STANZA.findall(data)
        if status.endswith(b" installed")
    )


def _packages(reader: HostReader) -> frozenset[str] | None:
    data = reader.read("/var/lib/dpkg/status", STATUS_BYTES_MAX)
    return None if data is None else parse_status(data)


def _wanted_units(reader: HostReader) -> frozenset[str]:
    """Return the units that have a file of their own and that another unit wants at boot."""
    present: set[str] = set()
    wanted: set[str] = set()
    for directory in _UNIT_DIRECTORIES:
        for name in reader.names(directory) or ():
            if name.endswith(_LINK_DIRECTORIES):
                wanted.update(reader.names(f"{directory}/{name}") or ())
            else:
                present.add(name)
    return frozenset(wanted & present)


def _is_masked(unit: str, reader: HostReader) -> bool:
    for directory in _UNIT_DIRECTORIES[:2]:
        info = reader.stat(f"{directory}/{unit}")
        if info is not None:
            return stat.S_ISCHR(info.st_mode) or (stat.S_ISREG(info.st_mode) and not info.st_size)
    return False


def _processes(reader: HostReader) -> frozenset[str] | None:
    """Return the names of running processes; None where we are shown only our own."""
    pids = [name for name in reader.names("/proc") or () if name.isdigit()]
    if "1" not in pids:
        return None
    found = set()
    for pid in pids:
        name = reader.read(f"/proc/{pid}/comm", COMM_BYTES_MAX)
        if name:
            found.add(name.decode("utf-8", "backslashreplace").strip())
    return frozenset(found)


def _both(names: tuple[str, ...], known: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if name in known))
