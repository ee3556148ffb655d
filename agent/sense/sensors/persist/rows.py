"""What is run, trusted or privileged on this host now, as rows for a table; nothing is kept."""

from collections.abc import Iterator

from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.places import read_places
from agent.sense.sensors.persist.readers import READERS
from proto.model import Persistence, User


def entry_rows(host: HostRoot, now: int, unread: dict[str, str]) -> Iterator[dict[str, object]]:
    """Yield a row for each entry of each reader; files with special rights take a walk, not this.

    A row has ``mechanism``, ``name``, ``path``, ``value``, ``uid``, ``user``, ``sha256`` (hex) and
    ``caveats``; what does not apply is left out.

    Args:
        host: the only way to its files.
        now: wall time, nanoseconds UTC.
        unread: takes what could not be read, and why.
    """
    remote = read_places(host).remote
    for reader in READERS.values():
        look = Look(host, remote, now)
        for found in reader(look):
            if found is not None:
                yield entry_row(found.item)
        unread.update(look.unread)


def entry_row(item: Persistence) -> dict[str, object]:
    """Return the row of one entry."""
    user = item.user if isinstance(item.user, User) else User()
    row = {
        "mechanism": item.mechanism,
        "name": item.name,
        "path": item.path,
        "value": item.value,
        "uid": user.uid,
        "user": user.name,
        "sha256": item.sha256.hex() if isinstance(item.sha256, bytes) else UNSET,
        "caveats": list(item.caveats),
    }
    return {name: value for name, value in row.items() if value is not UNSET}
