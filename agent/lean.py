"""Keeps a daemon small: a host pays for every import as long as the daemon runs.

Some libraries load others only in case they are wanted, and provide for their absence; one loads a
slower copy of itself that it never calls. What is left out here can be imported later by whoever
does need it.
"""

import ctypes
import gc
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

# The protocol buffer library in Python, beside the one in C that does the work: 1.3 MiB that are
# imported by name and not used. Where there is no C, it is left alone.
_HOLLOW = "google.protobuf.internal.python_message"
_HOLLOW_BESIDE = "google._upb._message"


@contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """Let imports of these modules fail in this block, except where they are loaded already.

    Args:
        names: modules whose absence everyone who imports them provides for.
    """
    stand_ins: dict[str, ModuleType | None] = dict.fromkeys(names)
    if importlib.util.find_spec(_HOLLOW_BESIDE) is not None:
        stand_ins[_HOLLOW] = ModuleType(_HOLLOW)
    stand_ins = {name: value for name, value in stand_ins.items() if name not in sys.modules}
    # None is Python's own way to say that there is no such module.
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def settle() -> None:
    """Give back what starting took and running does not need."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # not every C library keeps what was freed
        trim(0)
