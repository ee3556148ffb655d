"""Users, groups and capabilities: how each half of the agent gets rid of what it does not need.

Under systemd the units have already set everything and these functions find nothing to do. Started
by root without systemd, each half imports what it needs, then becomes its own user for good.
"""

import contextlib
import ctypes
import grp
import os
import pwd
import struct
from collections.abc import Iterable, Iterator

from runtime.errors import Fault, VedetteError

CAPABILITIES = {
    "dac_read_search": 2,
    "net_admin": 12,
    "net_raw": 13,
    "sys_ptrace": 19,
    "sys_admin": 21,
    "audit_control": 30,
    "audit_read": 37,
}
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_LOWER = 3
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_VERSION_3 = 0x20080522
_ID_MAX = 2**32 - 2
_ID_DIGITS_MAX = 10


class NoSuchUser(VedetteError):
    """A user or group named in the settings is not on this host."""

    fault = Fault.OPERATOR
    exit_code = 4


def user_id(name: str) -> int:
    """Return the numeric id of a user given by name or number.

    Raises:
        NoSuchUser: no such user.
    """
    if (number := _number(name)) is not None:
        return number
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError) as error:
        raise NoSuchUser(
            f"there is no user {name!r}", hint="install the sysusers file, or name other users"
        ) from error


def group_id(name: str) -> int:
    """Return the numeric id of a group given by name or number.

    Raises:
        NoSuchUser: no such group.
    """
    if (number := _number(name)) is not None:
        return number
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError) as error:
        raise NoSuchUser(
            f"there is no group {name!r}", hint="install the sysusers file, or name other groups"
        ) from error


def _number(name: str) -> int | None:
    """Return the id that a name is, if it is one; the kernel keeps the last for itself."""
    if not (name.isascii() and name.isdigit() and len(name) <= _ID_DIGITS_MAX):
        return None
    number = int(name)
    return number if number <= _ID_MAX else None


def become(user: str, group: str, keep: Iterable[str] = ()) -> None:
    """Turn a root process into another user, with only the capabilities in ``keep``.

    Nothing can be regained: all three ids change, no new privileges, ambient set empty.

    Args:
        user: name or number.
        group: name or number; supplementary groups are emptied.
        keep: names out of `CAPABILITIES`; those the process does not hold are left out.

    Raises:
        NoSuchUser: user or group is not on this host.
        OSError: the kernel refuses.
    """
    uid, gid = user_id(user), group_id(group)
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(libc, held() & {name for name in keep if name in CAPABILITIES})
    seal_privileges()


def keep_only(names: Iterable[str]) -> None:
    """Give everything up for good but these, known to us by name or not.

    Raises:
        OSError: the kernel refuses.
    """
    permitted = _permitted()
    keep = {name for name in names if name in CAPABILITIES and permitted >> CAPABILITIES[name] & 1}
    if permitted != _bits(keep):
        _set_capabilities(ctypes.CDLL(None, use_errno=True), keep)


@contextlib.contextmanager
def lent(name: str) -> Iterator[None]:
    """Let a program that is started in this block have one capability, where this process has it.

    Raises:
        OSError: the kernel refuses.
    """
    permitted, bit = _permitted(), CAPABILITIES[name]
    libc = ctypes.CDLL(None, use_errno=True)
    if not permitted >> bit & 1:
        yield
        return
    _set_bits(libc, permitted, 1 << bit)
    try:
        if libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, bit, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "ambient capability")
        yield
    finally:
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, bit, 0, 0)
        _set_bits(libc, permitted, 0)


def seal_privileges() -> None:
    """Make sure that no child and no exec of this process gains anything; core dumps off.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    # Kernels without ambient capabilities have none to clear.
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def held() -> set[str]:
    """Return which of `CAPABILITIES` this process may use or take up."""
    permitted = _permitted()
    return {name for name, bit in CAPABILITIES.items() if permitted >> bit & 1}


def _permitted() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return int(fields.get("CapPrm", "0"), 16)


def _bits(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _set_capabilities(libc: ctypes.CDLL, names: set[str]) -> None:
    _set_bits(libc, _bits(names), 0)


def _set_bits(libc: ctypes.CDLL, bits: int, inheritable: int) -> None:
    header = struct.pack("=Ii", _CAP_VERSION_3, 0)
    low, high = ((bits >> shift & 0xFFFFFFFF) for shift in (0, 32))
    kept_low, kept_high = ((inheritable >> shift & 0xFFFFFFFF) for shift in (0, 32))
    data = struct.pack("=6I", low, low, kept_low, high, high, kept_high)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
