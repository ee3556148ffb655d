"""What an inventory is made of: listings, each of which names all there is of one kind.

A listing is asked first for its stamp, which is cheap, and read only where that has moved. Reading
is a generator: the loop can leave it between any two steps.
"""

import os
from collections.abc import Generator, Iterable
from typing import ClassVar, Final, Protocol

import msgspec
from msgspec import Struct

from agent.sense.sensors.replacewatch import ReplaceWatch
from proto.model import Container, Package, Setting
from runtime.errors import Fault, VedetteError

Thing = Package | Setting | Container
Things = dict[bytes, Thing]
KEY_BYTES_MAX: Final = 1024

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Thing)


class Unread(VedetteError):
    """A listing cannot be had now.

    Args:
        message: why.
        is_absent: the host has nothing of the kind, which is nothing amiss.
    """

    fault: ClassVar[Fault] = Fault.HOST

    def __init__(self, message: str, *, is_absent: bool = False) -> None:
        super().__init__(message)
        self.is_absent = is_absent


class Look(Struct, frozen=True):
    """What can be told without reading.

    ``stamp`` moves when the listing may have changed; empty where only reading tells.
    ``changed_at`` is when it did, nanoseconds UTC, 0 where that is not known.
    """

    stamp: bytes
    changed_at: int = 0


class Listed(Struct, frozen=True):
    """All there is of one kind, by key.

    ``odd`` counts entries that make no sense; ``problem`` says what could not be read: what is
    missing from the things is then not gone.
    """

    things: Things
    odd: int = 0
    problem: str = ""


class Listing(Protocol):
    """One kind of thing on a host. ``name`` is also the rung and part of every key."""

    name: str
    coverage: str
    interval_s: int
    # Wakes us when it is replaced; None where only the interval does.
    watch: ReplaceWatch | None

    def look(self) -> Look:
        """Return the stamp.

        Raises:
            Unread: it cannot be had, or there is none here.
        """
        ...

    def read(self) -> Generator[None, None, Listed]:
        """Read it all, in steps.

        Raises:
            Unread: it cannot be had, or there is none here.
        """
        ...

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Tell whether the difference is not worth telling."""
        ...

    def fresh(self, thing: Thing) -> Thing:
        """Return a thing with what changes all the time as it was last read."""
        ...


def encode_thing(thing: Thing) -> bytes:
    """Return the row of a thing."""
    return _encoder.encode(thing)


def decode_thing(row: bytes) -> Thing:
    """Return the thing of a row.

    Raises:
        Unread: this is no row of ours.
    """
    try:
        thing: Thing = _decoder.decode(row)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unread("a row cannot be read") from error
    return thing


def key_of(*parts: str) -> bytes:
    """Return a key; parts may be host text."""
    return "\0".join(parts).encode("utf-8", "backslashreplace")[:KEY_BYTES_MAX]


def stamp_of(stats: Iterable[os.stat_result]) -> bytes:
    """Return what moves when any of these files or directories is written or replaced."""
    return b";".join(b"%d:%d:%d" % (seen.st_ino, seen.st_size, seen.st_mtime_ns) for seen in stats)
