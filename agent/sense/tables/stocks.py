"""Tables of the inventory: packages, containers and facts, as the sensors state them."""

from collections.abc import Iterator
from typing import Final

from msgspec import UNSET, structs

from agent.sense.sensors.containers import ContainerListing
from agent.sense.sensors.hostfacts import FactListing, facts
from agent.sense.sensors.listings import Listing, Thing, Unread
from agent.sense.sensors.packages import all_of, packages_of
from agent.sense.tables.table import Looking, Row, Table

_NO_INTERVAL_S: Final = 3600  # it is looked at once


def package_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a package."""
    for package in packages_of(looking.sources.packages, looking.host, looking.problems):
        yield structs.asdict(package)


def container_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a container."""
    yield from _rows(looking, ContainerListing(looking.host, _NO_INTERVAL_S))


def fact_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a fact."""
    yield from _rows(looking, FactListing(looking.host, _NO_INTERVAL_S))
    closed: list[str] = []
    for _ in facts(looking.host, closed):
        pass
    for problem in dict.fromkeys(closed):
        looking.missed(problem)


def _rows(looking: Looking, listing: Listing) -> Iterator[Row]:
    try:
        listing.look()
        listed = all_of(listing)
    except Unread as error:
        looking.missed(error.message)
        return
    if listed.problem:
        looking.missed(listed.problem)
    for _, thing in sorted(listed.things.items()):
        yield _row(thing)


def _row(thing: Thing) -> Row:
    return {name: value for name, value in structs.asdict(thing).items() if value is not UNSET}


PACKAGES: Final = Table(
    text="packages of dpkg, rpm, Python and Node",
    columns={
        "manager": "deb, rpm, python or npm",
        "name": "name of the package",
        "version": "its version, as its manager writes it",
        "architecture": "what it was built for",
        "state": "installed, or how far the manager got",
        "path": "the directory it is installed in; null where there can be only one",
    },
    rows=package_rows,
    shown=("manager", "name", "version", "architecture", "state"),
)
CONTAINERS: Final = Table(
    text="containers that run, told by their control groups",
    columns={
        "id": "id of the container, or its name",
        "runtime": "who runs it",
        "name": "its name, where the control group has it",
        "unit": "systemd unit it is in; null for none",
        "processes": "number of processes",
    },
    rows=container_rows,
)
FACTS: Final = Table(
    text="what the host is: system, kernel, processor, memory, disks, firmware",
    columns={
        "name": "which fact",
        "value": "its value",
        "origin": "where it was read",
    },
    rows=fact_rows,
)
