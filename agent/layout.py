"""The agent's directories: who owns them and who may enter.

`sense` never opens a path that `ship` can write; `ship` can read segments and nothing else of
`sense`. Made by root once, or by an ordinary user for an agent without a split.
"""

import os
from pathlib import Path

from msgspec import Struct

from agent.privileges import NoSuchUser, group_id, user_id
from agent.settings import PathSettings, PrivilegeSettings
from proto.model import Split
from runtime.files import fsync_dir


class Owners(Struct, frozen=True):
    """Numeric owners of the two halves' files; equal ones mean there is no split."""

    sense_uid: int
    ship_uid: int
    ship_gid: int

    @property
    def split(self) -> Split:
        """Whether the halves are apart."""
        return Split.USERS if self.sense_uid != self.ship_uid else Split.NONE


def owners(privileges: PrivilegeSettings) -> tuple[Owners, str]:
    """Return who will own what, and why there is no split where there is none."""
    me = os.geteuid()
    if me != 0:
        return Owners(me, me, os.getegid()), "not started by root"
    try:
        found = Owners(
            user_id(privileges.sense_user),
            user_id(privileges.ship_user),
            group_id(privileges.ship_group),
        )
    except NoSuchUser as error:
        return Owners(me, me, os.getegid()), error.message
    return found, "" if found.split is Split.USERS else "both halves have one user"


def make_directories(paths: PathSettings, owned: Owners) -> None:
    """Make what is missing and set owners and modes, as the design has them.

    Raises:
        OSError: not permitted, or no space.
    """
    is_split = owned.split is Split.USERS
    state = Path(paths.state)
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    _own(Path(paths.sense), 0o700, owned.sense_uid, None)
    _own(Path(paths.outbox), 0o750, owned.sense_uid, owned.ship_gid if is_split else None)
    _own(Path(paths.ship), 0o700, owned.ship_uid, owned.ship_gid if is_split else None)
    _own(Path(paths.run), 0o750, owned.sense_uid, owned.ship_gid if is_split else None)
    fsync_dir(state)


def give(path: Path, uid: int) -> None:
    """Make a file the property of one half, when root made it.

    Raises:
        OSError: not permitted.
    """
    if os.geteuid() == 0:
        os.chown(path, uid, -1)


def _own(path: Path, mode: int, uid: int, gid: int | None) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, uid, -1 if gid is None else gid)
    path.chmod(mode)
