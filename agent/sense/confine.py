"""What a child of `sense` gives up before it touches a stranger's bytes.

It keeps its user, because it works on our own files, and nothing else: no capability and no way to
gain one, no core dump, no descriptor it was not given, and bounds on memory, time and files.
"""

import contextlib
import ctypes
import os
import resource
import struct
from pathlib import Path
from typing import Final

from msgspec import Struct

from agent.privileges import seal_privileges

_CAP_VERSION_3: Final = 0x20080522
_FIRST_FREE_FD: Final = 3
_DESCRIPTORS_MAX: Final = 1 << 16
_OPEN_FILES_MAX: Final = 64
_CAPABILITY_SETS: Final = ("CapInh:", "CapPrm:", "CapEff:", "CapAmb:")


class Confinement(Struct, frozen=True):
    """The bounds of a child; sizes in bytes."""

    memory_bytes_max: int
    cpu_s_max: int
    file_bytes_max: int


def confine(bounds: Confinement) -> None:
    """Take everything away but standard input, output and error.

    A unit may forbid the calls that set bounds, and then sets its own; what cannot be left out is
    that no capability remains.

    Raises:
        OSError: the kernel refuses; the child must not go on.
    """
    os.closerange(_FIRST_FREE_FD, _DESCRIPTORS_MAX)
    seal_privileges()
    if _holds_capabilities():
        _drop_capabilities()
    for kind, value in (
        (resource.RLIMIT_AS, bounds.memory_bytes_max),
        (resource.RLIMIT_CPU, bounds.cpu_s_max),
        (resource.RLIMIT_FSIZE, bounds.file_bytes_max),
        (resource.RLIMIT_NOFILE, _OPEN_FILES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(PermissionError):
            _bound(kind, value)


def _bound(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _holds_capabilities() -> bool:
    status = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return any(int(line.split()[1], 16) for line in status if line.startswith(_CAPABILITY_SETS))


def _drop_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _CAP_VERSION_3, 0)
    if libc.capset(header, struct.pack("=6I", 0, 0, 0, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
