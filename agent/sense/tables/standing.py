"""Tables of what is trusted, run or privileged without being asked again.

They are read as the persistence sensor reads; nothing is compared with packages here. Files that
lend rights take a walk over every local file system.
"""

from collections.abc import Callable, Iterator
from typing import Final

from agent.sense.mechanisms import ACCOUNTS
from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.places import read_places
from agent.sense.sensors.persist.rows import entry_row, entry_rows
from agent.sense.sensors.persist.setuid import Area, walk
from agent.sense.tables.table import Looking, Row, Table


def account_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a user, group and member of a group."""
    return _rows(looking, lambda mechanism: mechanism in ACCOUNTS)


def persistence_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row an entry that is no account."""
    return _rows(looking, lambda mechanism: mechanism not in ACCOUNTS)


def rights_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a file that lends its owner's rights or has rights of its own."""
    own = looking.sources.persistence
    places = read_places(looking.host)
    look = Look(looking.host, places.remote, looking.clock.wall_ns())
    area = Area(places, frozenset(own.walk_exclude), own.walk_entries_max)
    for found in walk(look, looking.host, area):
        if found is not None:
            yield entry_row(found.item)
    for path, why in look.unread.items():
        looking.missed(f"{path}: {why}")


def _rows(looking: Looking, is_wanted: Callable[[object], bool]) -> Iterator[Row]:
    unread: dict[str, str] = {}
    for row in entry_rows(looking.host, looking.clock.wall_ns(), unread):
        if is_wanted(row["mechanism"]):
            yield row
    if not looking.is_there("/etc"):
        looking.missed("/etc: no such file or directory")
    for path, why in unread.items():
        looking.missed(f"{path}: {why}")


_COLUMNS: Final = {
    "mechanism": "how: cron_job, systemd_unit, authorized_key and the like",
    "name": "which one within the file",
    "path": "file it stands in",
    "value": "what it runs or grants",
    "uid": "for whom",
    "user": "name of that user",
    "sha256": "digest of the whole file, where that is the entry",
    "caveats": "what may be wrong or missing, and why",
}

ACCOUNTS_TABLE: Final = Table(
    text="accounts with their password's state, groups and who is in them",
    columns=_COLUMNS,
    rows=account_rows,
    shown=("mechanism", "name", "value"),
)
PERSISTENCE: Final = Table(
    text="what is run or trusted without being asked again: cron, units, keys, sudoers, PAM",
    columns=_COLUMNS,
    rows=persistence_rows,
    shown=("mechanism", "name", "value", "path"),
)
RIGHTS: Final = Table(
    text="files that lend rights: set-user-id, set-group-id, capabilities",
    columns=_COLUMNS,
    rows=rights_rows,
    shown=("mechanism", "path", "value"),
)
