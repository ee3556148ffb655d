"""Modules that are loaded into the kernel, as it lists them and as sysfs shows them.

One that hides itself from one of the two lists rarely hides from both.

Source: proc(5) /proc/modules; the kernel's sysfs-module.
"""

from collections.abc import Iterator
from typing import Final

from agent.sense.tables.table import Looking, Row, Table, as_text, number

MODULES_BYTES_MAX: Final = 4 << 20
MODULES_MAX: Final = 8192

_PATH: Final = "/proc/modules"
_SYSFS: Final = "/sys/module"
_DISABLED: Final = "/proc/sys/kernel/modules_disabled"


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a module."""
    data = looking.maybe(_PATH, MODULES_BYTES_MAX)
    loaded = set()
    # A kernel that can load modules has this setting.
    if data is None and (looking.is_there(_DISABLED) or not looking.is_there("/proc/version")):
        looking.missed(f"{_PATH}: no list of modules")
    for row in parse_modules(data or b""):
        name = str(row["name"])
        loaded.add(name)
        yield row | {
            "version": looking.text(f"{_SYSFS}/{name}/version"),
            "taint": looking.text(f"{_SYSFS}/{name}/taint") or None,
            "listed_by": ["kernel", *(["sysfs"] if _is_loaded(looking, name) else [])],
        }
    for name in looking.entries(_SYSFS):
        if name not in loaded and _is_loaded(looking, name):
            yield {"name": name, "listed_by": ["sysfs"]}


def _is_loaded(looking: Looking, name: str) -> bool:
    """Tell whether sysfs shows a module that was loaded, and not one built into the kernel."""
    return looking.text(f"{_SYSFS}/{name}/initstate") is not None


def parse_modules(data: bytes) -> Iterator[Row]:
    """Yield the modules of /proc/modules; lines that are none are passed over."""
    for line in data.split(b"\n")[:MODULES_MAX]:
        fields = line.split(b" ")
        if len(fields) < 5 or (size := number(fields[1])) is None:
            continue
        users = [as_text(name) for name in fields[3].split(b",") if name not in {b"", b"-"}]
        yield {
            "name": as_text(fields[0]),
            "size_bytes": size,
            "references": number(fields[2]),
            "used_by": users,
            "state": as_text(fields[4].lower()),
        }


TABLE: Final = Table(
    text="modules loaded into the kernel, and by which list they are known",
    columns={
        "name": "name of the module",
        "size_bytes": "memory it takes",
        "references": "how much it is used; null where that cannot be told",
        "used_by": "modules that stand on it",
        "state": "live, loading or unloading",
        "version": "its own version; null for most",
        "taint": "how it taints the kernel: O from outside the tree, E unsigned, P proprietary",
        "listed_by": "kernel, sysfs; one of the two alone is odd",
    },
    rows=rows,
    shown=("name", "size_bytes", "references", "used_by", "state", "taint", "listed_by"),
)
