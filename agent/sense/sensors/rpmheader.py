"""Name and version of a package, from the header that rpm keeps of it.

A header is an index of tagged values and the store they lie in, both big-endian. Only the index and
the few values that are wanted are read: the rest, mostly names of files, may be megabytes.

Source: rpm "Header format" and "Tags".
"""

import re
import struct
from collections.abc import Callable
from typing import ClassVar, Final

from proto.model import Package
from runtime.errors import Fault, VedetteError

INDEX_ENTRIES_MAX: Final = 4096
TEXT_BYTES_MAX: Final = 256

_COUNTS: Final = struct.Struct(">II")
_ENTRY: Final = struct.Struct(">IIiI")
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_STRING: Final = 6
_INT32: Final = 4
_WANTED: Final = {_NAME: _STRING, _VERSION: _STRING, _RELEASE: _STRING, _ARCH: _STRING}
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^:\-]{0,254}")

# Returns bytes of a header: where from and how many; fewer at its end.
Read = Callable[[int, int], bytes]


class NotRpmHeader(VedetteError):
    """These are not the bytes of a header that names a package."""

    fault: ClassVar[Fault] = Fault.HOST


def parse_package(read: Read) -> Package:
    """Return the package of a header.

    Raises:
        NotRpmHeader: it is none, or names none within the grammar.
    """
    head = read(0, _COUNTS.size)
    if len(head) < _COUNTS.size:
        raise NotRpmHeader("a header that is cut")
    count, _ = _COUNTS.unpack(head)
    if not 0 < count <= INDEX_ENTRIES_MAX:
        raise NotRpmHeader("a header with too many values")
    index = read(_COUNTS.size, count * _ENTRY.size)
    if len(index) < count * _ENTRY.size:
        raise NotRpmHeader("a header that is cut")
    store = _COUNTS.size + count * _ENTRY.size
    texts: dict[int, str] = {}
    epoch = 0
    for tag, kind, offset, values in _ENTRY.iter_unpack(index):
        if offset < 0 or not values:
            continue
        if _WANTED.get(tag) == kind:
            texts.setdefault(tag, _text(read(store + offset, TEXT_BYTES_MAX)))
        elif tag == _EPOCH and kind == _INT32:
            epoch = int.from_bytes(read(store + offset, 4), "big")
    return _package(texts, epoch)


def _package(texts: dict[int, str], epoch: int) -> Package:
    name, version, release = (texts.get(tag, "") for tag in (_NAME, _VERSION, _RELEASE))
    architecture = texts.get(_ARCH, "")
    for word in (name, version, release, architecture or "none"):
        if not _WORD.fullmatch(word):
            raise NotRpmHeader("a header that names no package")
    full = f"{version}-{release}"[:240]
    return Package("rpm", name, f"{epoch}:{full}" if epoch else full, architecture, "installed")


def _text(data: bytes) -> str:
    text, ended, _ = data.partition(b"\0")
    if not ended:
        raise NotRpmHeader("a text without an end")
    return text.decode("utf-8", "backslashreplace")
