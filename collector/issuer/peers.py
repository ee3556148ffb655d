"""Who is at the other end of the socket: the kernel says, nobody is asked."""

import os
import socket
import struct

from collector.issuer.operations import Caller, Role
from collector.issuer.settings import IssuerSettings

_ROOT_UID = 0
_CREDENTIALS = struct.Struct("3i")


def caller_of(peer: socket.socket, settings: IssuerSettings) -> Caller:
    """Return the process at the other end, as it was when it connected.

    Root and our own user may ask everything; so the gateway may, where it runs as our user.

    Args:
        peer: a connected Unix socket.
        settings: which other users may ask what.

    Raises:
        OSError: the kernel does not say.

    Source: unix(7), SO_PEERCRED.
    """
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return Caller(uid=uid, roles=roles_of(uid, settings))


def roles_of(uid: int, settings: IssuerSettings) -> frozenset[Role]:
    """Return what a user may ask; nothing for a user nobody named."""
    if uid in {_ROOT_UID, os.geteuid(), *settings.admin_uids}:
        return frozenset(Role)
    return frozenset({Role.GATEWAY} if uid in settings.gateway_uids else ())
