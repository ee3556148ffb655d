"""The homes of the host's accounts, each once, as far as they exist on a local file system."""

import stat
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.users import Account, accounts

HOMES_MAX: Final = 5_000
_PATH_CHARS_MAX: Final = 1024


class Home(Struct, frozen=True):
    """A directory and the first account whose home it is; ``path`` has no slash at its end."""

    path: str
    account: Account


def homes(look: Look) -> Iterator[Home]:
    """Yield each home that is a directory.

    The root directory counts as the home that it is for some accounts: sshd would look there too.
    """
    seen: set[str] = set()
    for account in accounts(look):
        path = account.home.rstrip("/")
        if path in seen or len(path) > _PATH_CHARS_MAX or not account.home.startswith("/"):
            continue
        seen.add(path)
        if len(seen) > HOMES_MAX:
            look.cannot("homes", f"are more than {HOMES_MAX}")
            return
        if "\0" in path or look.resolved(path or "/") is None:
            continue
        there = look.stat(path or "/")
        if there is not None and stat.S_ISDIR(there.st_mode):
            yield Home(path, account)
