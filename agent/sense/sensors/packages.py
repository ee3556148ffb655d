"""Packages: what is installed by dpkg and rpm, for Python and for Node, and what comes and goes.

Source: the package managers' own databases, see `dpkg`, `rpmdb`, `pythonpkgs` and `npmpkgs`; no
program is run and none of their code. Privilege: none, but for roots that others may not read.
Cost: 10 ms of CPU a thousand packages, at the start and after each change. Misses: a package that
comes and goes between two looks, software that was copied into place, and what became of a
package's files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.hostroot import HostRoot
from agent.sense.ports import SensorSpec
from agent.sense.sensors.dpkg import DpkgListing
from agent.sense.sensors.inventory import FullSettings, InventorySensor, state_of
from agent.sense.sensors.listings import Listed, Listing, Unread
from agent.sense.sensors.npmpkgs import NpmListing
from agent.sense.sensors.pythonpkgs import PythonListing
from agent.sense.sensors.rpmdb import RpmListing
from proto.model import Package
from runtime.clock import Clock

_STATE_BYTES_MAX: Final = 64 * 1024 * 1024


class PackageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How packages are watched."""

    # dpkg's renames wake us; this is for where inotify cannot, such as some container mounts, and
    # for everyone else's databases.
    interval_s: Annotated[int, Meta(ge=5, le=86_400)] = 600
    # Virtual environments, beside the interpreters' own directories.
    python_environments: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    # Directories that hold a node_modules, beside those of globally installed packages.
    npm_projects: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    full: FullSettings = FullSettings()


class PackageSensor(InventorySensor):
    """Tells the packages of a host and their changes.

    Args:
        settings: how often to look without being woken, and where else.
        host: the only way to the databases.
        clock: paces and stamps.
        state: our database; in a directory of `sense` alone.
    """

    spec = SensorSpec(
        name="packages",
        source="dpkg status, rpm database, Python and Node package directories",
        coverage="packages that dpkg, rpm, pip or npm installed in known places",
        misses="software copied into place; packages that come and go between two looks",
        privilege="none; directories closed to others need DAC_READ_SEARCH",
        cost="10 ms of CPU a thousand packages after each change",
    )
    needed = frozenset({"deb", "rpm"})

    def __init__(
        self, settings: PackageSettings, host: HostRoot, clock: Clock, state: Path
    ) -> None:
        told = state_of(state, _STATE_BYTES_MAX)
        super().__init__(listings(settings, host), clock, told, settings.full)


def listings(settings: PackageSettings, host: HostRoot) -> tuple[Listing, ...]:
    """Return every package manager that is known."""
    return (
        DpkgListing(host, settings.interval_s),
        RpmListing(host, settings.interval_s),
        PythonListing(host, settings.interval_s, settings.python_environments),
        NpmListing(host, settings.interval_s, settings.npm_projects),
    )


def packages_of(
    settings: PackageSettings, host: HostRoot, problems: list[str]
) -> Iterator[Package]:
    """Yield each package present, by manager.

    Args:
        settings: where to look.
        host: the only way there.
        problems: takes what could not be read.
    """
    absent: dict[str, str] = {}
    for listing in listings(settings, host):
        try:
            listing.look()
            listed = all_of(listing)
        except Unread as error:
            if error.is_absent:
                absent[listing.name] = error.message
            else:
                problems.append(error.message)
            continue
        if listed.problem:
            problems.append(listed.problem)
        for _, thing in sorted(listed.things.items()):
            if isinstance(thing, Package):
                yield thing
    if PackageSensor.needed <= absent.keys():
        problems += [absent[name] for name in sorted(PackageSensor.needed)]


def package_rows(host: HostRoot) -> Iterator[dict[str, object]]:
    """Yield a row for each package present."""
    for package in packages_of(PackageSettings(), host, []):
        yield msgspec.structs.asdict(package)


def all_of(listing: Listing) -> Listed:
    """Return what a listing reads, at once.

    Raises:
        Unread: it cannot be had.
    """
    steps = listing.read()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Listed = end.value
            return found
