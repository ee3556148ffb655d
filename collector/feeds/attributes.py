"""The words with which MISP and OTX name kinds, composite ones (``filename|sha256``) too."""

from collections.abc import Iterator
from typing import Final

from collector.feeds.rows import endpoint, kind_of, read_kind
from proto.content.errors import BadValue, shown
from proto.content.kinds import IndicatorKind

_PORTS: Final = frozenset({"ip-dst|port", "ip-src|port"})
_PART_OF_NONE: Final = frozenset({"port"})


def values_of(type_: str, value: str) -> Iterator[tuple[IndicatorKind, str]]:
    """Yield the indicators in an attribute: one, or one for each part of a composite.

    Raises:
        BadValue: no kind of ours.
    """
    word = type_.strip().lower()
    if word in _PORTS:
        address, bar, port = value.rpartition("|")
        if not bar:
            raise BadValue(f"{shown(value)} is not an address and a port")
        yield IndicatorKind.IP_PORT, endpoint(address, port)
        return
    if "|" not in word:
        kind = read_kind(word)
        yield kind_of(kind, value), value
        return
    names, parts = word.split("|"), value.split("|")
    if len(names) != len(parts):
        raise BadValue(f"{shown(value)} is not a value of type {shown(word)}")
    for name, part in zip(names, parts, strict=True):
        # A file's name beside its digest is whatever the file was called when it was found.
        if name in _PART_OF_NONE or (name == "filename" and len(names) > 1):
            continue
        kind = read_kind(name)
        yield kind_of(kind, part), part
