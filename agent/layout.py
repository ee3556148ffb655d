"""The agent's directories: who owns them and who may enter.

`sense` never opens a path that `ship` can write; `ship` can read segments and nothing else of
`sense`. Made by root once, or by an ordinary user for an agent without a split.
"""

import os
import stat
import sys
from pathlib import Path

from msgspec import Struct

from agent.privileges import NoSuchUser, group_id, user_id
from agent.settings import PathSettings, PrivilegeSettings
from proto.model import Split
from runtime.files import fsync_dir


class Owners(Struct, frozen=True):
    """Numeric owners of the two halves' files; equal ones mean there is no split.

    Those of the unit that sees DNS packets are None where there is no such user.
    """

    sense_uid: int
    ship_uid: int
    ship_gid: int
    dns_uid: int | None = None
    dns_gid: int | None = None

    @property
    def split(self) -> Split:
        """Whether the halves are apart."""
        return Split.USERS if self.sense_uid != self.ship_uid else Split.NONE


def owners(privileges: PrivilegeSettings) -> tuple[Owners, str]:
    """Return who owns what, and why there is no split where there is none.

    Root splits the halves when both users exist and can run this program; a process that already
    is one of the two users belongs to a split that somebody else, such as systemd, has made.
    """
    me = os.geteuid()
    alone = Owners(me, me, os.getegid(), me, os.getegid())
    try:
        found = Owners(
            user_id(privileges.sense_user),
            user_id(privileges.ship_user),
            group_id(privileges.ship_group),
            *_dns_ids(privileges.dns_user),
        )
    except NoSuchUser as error:
        return alone, error.message
    if found.split is Split.NONE:
        return alone, "both halves have one user"
    if me in {found.sense_uid, found.ship_uid}:
        return found, ""
    if me != 0:
        return alone, "not started by root"
    closed = _closed_to_others(Path(sys.executable))
    if closed is not None:
        return alone, f"other users cannot run Python from under {closed}"
    return found, ""


def _dns_ids(name: str) -> tuple[int | None, int | None]:
    try:
        return user_id(name), group_id(name)
    except NoSuchUser:
        return None, None


def _closed_to_others(program: Path) -> Path | None:
    """Return the directory that keeps other users from running this interpreter, if there is one.

    A program in somebody's home can be started by root, but not by the users it should become.
    """
    for path in (program, Path(os.path.realpath(program)), Path(sys.prefix), Path(__file__)):
        for directory in path.absolute().parents:
            if not directory.stat().st_mode & stat.S_IXOTH:
                return directory
    return None


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
    # Whoever may not enter the door's group may pass through, to a directory of its own.
    _own(Path(paths.run), 0o751, owned.sense_uid, owned.ship_gid if is_split else None)
    _own_dns(Path(paths.dns_door).parent, owned)
    fsync_dir(state)


def give(path: Path, uid: int) -> None:
    """Make a file the property of one half, when root made it; a link stays a link.

    Raises:
        OSError: not permitted.
    """
    if os.geteuid() == 0:
        os.chown(path, uid, -1, follow_symlinks=False)


def _own_dns(path: Path, owned: Owners) -> None:
    """Make the directory whose group, set by its own bit, is that of every socket in it."""
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() != 0 or owned.dns_gid is None:
        return
    # `sense` owns what it lies in: no link that it might have put there is followed.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, owned.sense_uid, owned.dns_gid)
        os.fchmod(fd, 0o2750)
    finally:
        os.close(fd)


def _own(path: Path, mode: int, uid: int, gid: int | None) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, uid, -1 if gid is None else gid)
    elif path.stat().st_uid != os.geteuid():
        # The other half's, where somebody else has made the split: it is not ours to change.
        return
    path.chmod(mode)
