"""Every reader, by name: a literal table."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from agent.sense.sensors.persist import (
    cron,
    modules,
    pam,
    sshkeys,
    startup,
    sudoers,
    units,
    users,
)
from agent.sense.sensors.persist.items import Found
from agent.sense.sensors.persist.look import Look

# Yields entries, and None wherever it may be left for a while.
Reader = Callable[[Look], Iterator[Found | None]]

READERS: Final[Mapping[str, Reader]] = {
    "users": users.read,
    "sudoers": sudoers.read,
    "sshkeys": sshkeys.read,
    "cron": cron.read,
    "units": units.read,
    "pam": pam.read,
    "startup": startup.read,
    "modules": modules.read,
}
