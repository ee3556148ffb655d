"""What the kernel will do with a file it is told to execute, from the first bytes of that file.

A script and its interpreter, a program and its loader are opened one after the other for one exec;
what each file is tells which of them is the program. Any bytes are some kind of file.

Source: execve(2), elf(5).
"""

import enum
import struct
from collections.abc import Callable
from typing import Final

from msgspec import Struct

HEAD_BYTES: Final = 64
TABLE_BYTES_MAX: Final = 65_536  # the kernel takes no larger one
INTERPRETER_BYTES_MAX: Final = 4096

_PT_INTERP: Final = 3
_ET_DYN: Final = 3

_IDENT_BYTES: Final = 16
# By class: the header behind the identification, a program header, and where the latter has the
# offset and the size of what it describes.
_LAYOUTS: Final = {1: ("HHIIIIIHHH", "IIIIIIII", 1, 4), 2: ("HHIQQQIHHH", "IIQQQQQQ", 2, 5)}
_ORDERS: Final = {1: "<", 2: ">"}

# Reads so many bytes at an offset; fewer at the end of the file.
Reader = Callable[[int, int], bytes]


class Kind(enum.Enum):
    """What becomes of the file when it is executed."""

    SCRIPT = "script"  # or anything else that needs a program to run it
    DYNAMIC = "dynamic"  # runs, with the loader it names
    STATIC = "static"  # runs alone
    BARE = "bare"  # a loader, or a program that needs none and can lie anywhere


class Head(Struct, frozen=True):
    """The kind of a file, and the loader it names."""

    kind: Kind
    loader: bytes = b""


_SCRIPT: Final = Head(Kind.SCRIPT)
_STATIC: Final = Head(Kind.STATIC)
_BARE: Final = Head(Kind.BARE)


def read_head(read: Reader) -> Head:
    """Return what the file is that ``read`` reads from.

    Raises:
        OSError: it cannot be read.
    """
    data = read(HEAD_BYTES, 0)
    if data[:4] != b"\x7fELF" or len(data) < HEAD_BYTES - 12:
        return _SCRIPT
    if data[4] not in _LAYOUTS or data[5] not in _ORDERS:
        return _SCRIPT
    try:
        return _elf(read, data)
    except struct.error:
        return _STATIC


def _elf(read: Reader, data: bytes) -> Head:
    order = _ORDERS[data[5]]
    main, entry, at_offset, at_size = _LAYOUTS[data[4]]
    header = struct.unpack_from(order + main, data, _IDENT_BYTES)
    layout = struct.Struct(order + entry)
    size, count = header[8], header[9]
    if size != layout.size or not 0 < size * count <= TABLE_BYTES_MAX:
        return _STATIC  # the kernel refuses it
    table = read(size * count, _offset(header[4]))
    for start in range(0, len(table) - size + 1, size):
        found = layout.unpack_from(table, start)
        if found[0] == _PT_INTERP:
            name = read(min(found[at_size], INTERPRETER_BYTES_MAX), _offset(found[at_offset]))
            return Head(Kind.DYNAMIC, name.split(b"\0", 1)[0])
    return _BARE if header[0] == _ET_DYN else _STATIC


def _offset(value: int) -> int:
    if value >= 1 << 62:
        raise struct.error
    return value
