"""Tables of what is on this host now, for people and scripts: ``vedette-agent ls TABLE``.

A literal table: nothing is found by scanning. Each is read only when it is asked for, by a command
that ends; nothing here is part of the process that senses.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from agent.sense.tables import (
    activity,
    bpf,
    certificates,
    cloud,
    devices,
    firewall,
    hidden,
    identities,
    images,
    interfaces,
    kernel,
    modules,
    mounts,
    resolver,
    routes,
    sessions,
    standing,
    stocks,
)
from agent.sense.tables.table import Looking, Row, Table

TABLES: Final[Mapping[str, Table]] = {
    "processes": activity.PROCESSES,
    "executables": images.TABLE,
    "hidden": hidden.TABLE,
    "sockets": activity.SOCKETS,
    "listening": activity.LISTENING,
    "sessions": sessions.TABLE,
    "users": identities.USERS,
    "groups": identities.GROUPS,
    "accounts": standing.ACCOUNTS_TABLE,
    "persistence": standing.PERSISTENCE,
    "rights": standing.RIGHTS,
    "packages": stocks.PACKAGES,
    "containers": stocks.CONTAINERS,
    "files": activity.FILES,
    "facts": stocks.FACTS,
    "cloud": cloud.TABLE,
    "kernel": kernel.TABLE,
    "modules": modules.TABLE,
    "bpf": bpf.TABLE,
    "mounts": mounts.TABLE,
    "devices": devices.TABLE,
    "interfaces": interfaces.TABLE,
    "routes": routes.TABLE,
    "firewall": firewall.TABLE,
    "resolver": resolver.TABLE,
    "certificates": certificates.TABLE,
}


def rows(table: str, looking: Looking) -> Iterator[Row]:
    """Yield the rows of a table; what could not be read is in ``looking.problems`` afterwards.

    Raises:
        KeyError: there is no such table in `TABLES`.
        HostFileError: the host has no /proc where we look.
    """
    return TABLES[table].rows(looking)
