"""The keys of the content repository: one a role, in two places.

Offline keys (root, targets) are written where the operator says and leave the collector after
``init``. Online keys lie in the collector's feed state; they can sign indicators and nothing else.
"""

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from certs.errors import KeyUnusable
from certs.keyring import ensure_signing_key, load_signing_key
from certs.tufkeys import TufSigner
from collector.feeds.errors import NotInitialised, OfflineKeyNeeded

INDICATORS: Final = "indicators"
OFFLINE_ROLES: Final = ("root", "targets")
ONLINE_ROLES: Final = ("snapshot", "timestamp", INDICATORS)


class OnlineKeys(Struct, frozen=True):
    """What the collector signs with every day."""

    snapshot: TufSigner
    timestamp: TufSigner
    indicators: TufSigner


class OfflineKeys(Struct, frozen=True):
    """What the operator signs with a few times a year."""

    root: TufSigner
    targets: TufSigner


def create_online(directory: Path) -> OnlineKeys:
    """Return the online keys, made now where there are none.

    Raises:
        KeyUnusable: one of the files is no good, or cannot be written.
    """
    _prepare(directory)
    return OnlineKeys(*(TufSigner(ensure_signing_key(_path(directory, r))) for r in ONLINE_ROLES))


def create_offline(directory: Path) -> OfflineKeys:
    """Return the offline keys, made now where there are none.

    Raises:
        KeyUnusable: one of the files is no good, or cannot be written.
    """
    _prepare(directory)
    return OfflineKeys(*(TufSigner(ensure_signing_key(_path(directory, r))) for r in OFFLINE_ROLES))


def load_online(directory: Path) -> OnlineKeys:
    """Return the online keys.

    Raises:
        NotInitialised: there are none.
        KeyUnusable: one of the files is no good.
    """
    if not os.path.lexists(_path(directory, ONLINE_ROLES[0])):
        raise NotInitialised(
            f"there are no content keys in {directory}",
            hint="run vedette-collector init first",
        )
    return OnlineKeys(*(TufSigner(load_signing_key(_path(directory, r))) for r in ONLINE_ROLES))


def load_offline(directory: Path) -> OfflineKeys:
    """Return the offline keys.

    Raises:
        OfflineKeyNeeded: they are not in this directory.
        KeyUnusable: one of the files is no good.
    """
    if not os.path.lexists(_path(directory, OFFLINE_ROLES[0])):
        raise OfflineKeyNeeded(
            f"there are no offline content keys in {directory}",
            hint="mount the medium they were put on at init and name its directory",
        )
    return OfflineKeys(*(TufSigner(load_signing_key(_path(directory, r))) for r in OFFLINE_ROLES))


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyUnusable(f"cannot make {directory}: {error.strerror}") from error


def _path(directory: Path, role: str) -> Path:
    return directory / f"tuf-{role}.pem"
