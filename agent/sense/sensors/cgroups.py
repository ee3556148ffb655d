"""Which container and which unit a process belongs to, from the bytes of /proc/PID/cgroup.

Docker, containerd, CRI-O and podman name a control group after the 64 hex digits of a container;
LXC and nspawn after its name. systemd names one after the unit. Below a user's own manager every
name is that user's word: a container there is told with the user's number, so that nobody passes
for another's. No runtime's socket is asked: that right is worth as much as root.

Source: cgroups(7), systemd.unit(5).
"""

import re
from typing import Final

from msgspec import Struct

from agent.hosttext import host_text
from agent.sense.sensors.procfs import ProcError

CGROUP_BYTES_MAX: Final = 1 << 14
NAME_CHARS_MAX: Final = 256

_LINES_MAX: Final = 64
_HEX_ID: Final = re.compile(rb"(?:^|[-:/])([0-9a-f]{64})(?:\.scope)?$")
_NAMED: Final = re.compile(rb"^(?:lxc\.payload\.|machine-)(.+?)(?:\.scope)?$")
_MANAGER: Final = re.compile(rb"user@(\d{1,10})\.service")
_UNIT_ENDS: Final = (b".service", b".scope", b".socket", b".mount", b".swap")


class Belonging(Struct, frozen=True):
    """The container and the system unit of a process; None where it is in none."""

    container: str | None
    unit: str | None


NOWHERE: Final = Belonging(container=None, unit=None)


def parse_cgroup(data: bytes) -> Belonging:
    """Read /proc/PID/cgroup, of version 1 (a line a hierarchy), 2, or both.

    Raises:
        ProcError: a line is not ``id:controllers:path``.
    """
    container: bytes | None = None
    unit: bytes | None = None
    for line in data[:CGROUP_BYTES_MAX].split(b"\n", _LINES_MAX)[:_LINES_MAX]:
        if not line:
            continue
        fields = line.split(b":", 2)
        if len(fields) != 3 or not fields[2].startswith(b"/"):
            raise ProcError("not a cgroup of /proc")
        parts = fields[2].split(b"/")[1:]
        container = container or _container(parts)
        if unit is None and fields[1] in {b"", b"name=systemd"}:
            unit = _unit(parts)
    if container is None and unit is None:
        return NOWHERE
    return Belonging(
        container=None if container is None else host_text(container, NAME_CHARS_MAX),
        unit=None if unit is None else host_text(unit, NAME_CHARS_MAX),
    )


def _container(parts: list[bytes]) -> bytes | None:
    """Return the innermost container that the path names; ``@`` and a user if a user made it."""
    name = _innermost(parts)
    if name is None:
        return None
    owners = (found[1] for part in parts if (found := _MANAGER.fullmatch(part)))
    owner = next(owners, None)
    return name if owner is None else b"%s@%s" % (name, owner)


def _innermost(parts: list[bytes]) -> bytes | None:
    for index in range(len(parts) - 1, -1, -1):
        if found := _HEX_ID.search(parts[index]) or _NAMED.match(parts[index]):
            return found[1]
        if index and parts[index - 1] == b"lxc" and parts[index]:
            return parts[index]
    return None


def _unit(parts: list[bytes]) -> bytes | None:
    """Return the outermost unit that is not a slice: the system's, not one a user's manager made.

    systemd writes ``_`` before a name that a control file might have.
    """
    for part in parts:
        if part.endswith(_UNIT_ENDS):
            return part.removeprefix(b"_")
    return None
