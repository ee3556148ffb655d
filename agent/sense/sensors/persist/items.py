"""What readers give: one entry each, and the key by which it is known again."""

import hashlib
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from agent.hosttext import host_text
from agent.sense.mechanisms import CUT, LATER, MODIFIED, UNVERIFIED, WRITABLE
from agent.sense.sensors.persist.look import Content, Writable
from agent.sense.sensors.told import StateLost
from proto.model import Persistence, User

NAME_CHARS_MAX: Final = 256
PATH_CHARS_MAX: Final = 4096
VALUE_CHARS_MAX: Final = 2048

# Said of an entry by `packaged`, not by its reader.
_OF_PACKAGE: Final = frozenset({MODIFIED, UNVERIFIED, LATER})

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Persistence)


class Found(Struct, frozen=True):
    """One entry; ``changed`` is the ctime of its file, 0 where that says nothing.

    ``identity`` is what makes two entries of one mechanism, path and name different ones. A line
    is known by what it says, so that a line between two others moves neither.
    """

    item: Persistence
    changed: int = 0
    identity: str = ""


class Entry(Struct, frozen=True):
    """The parts of an entry as they stand on the host, of any length."""

    mechanism: str
    name: str | bytes
    value: str | bytes | None = None
    user: User | None = None
    caveats: tuple[str, ...] = ()


def line(content: Content, entry: Entry) -> Found:
    """Return what one line of a file says; it is known by what it says and for whom."""
    item = _item(entry, content.path, UNSET)
    who = entry.user.name if entry.user is not None else ""
    # Of all that it says: what is told of it may be cut.
    said = hashlib.blake2b(_raw(entry.value or b""), digest_size=16).hexdigest()
    return Found(item, content.seen.st_ctime_ns, f"{said} {who}")


def whole(content: Content, entry: Entry) -> Found:
    """Return a file that is an entry as a whole; its digest tells when it changes."""
    cut = () if content.is_whole else (CUT,)
    sha256 = content.sha256 or UNSET
    item = _item(structs.replace(entry, caveats=entry.caveats + cut), content.path, sha256)
    return Found(item, content.seen.st_ctime_ns)


def plain(path: str, changed: int, entry: Entry, identity: str = "") -> Found:
    """Return an entry that was not read from a file of its own."""
    return Found(_item(entry, path, UNSET), changed, identity)


def writable(one: Writable) -> Found:
    """Return the fact that everyone may write to what is run or trusted."""
    name = one.path.rpartition("/")[2]
    value = f"mode={one.mode:04o} uid={one.uid}"
    return plain(one.path, one.changed, Entry(WRITABLE, name, value))


def key_of(reader: str, found: Found) -> bytes:
    """Return the key of an entry: of fixed length, whatever the host calls it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (found.item.mechanism, found.item.path, found.item.name, found.identity):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return prefix_of(reader) + digest.digest()


def prefix_of(reader: str) -> bytes:
    """Return what the keys of a reader begin with."""
    return b"i:%s:" % reader.encode()


def end_of(reader: str) -> bytes:
    """Return what is after every key of a reader."""
    return b"i:%s;" % reader.encode()


def encoded(item: Persistence) -> bytes:
    """Return an entry as it is stored."""
    return _encoder.encode(item)


def decoded(value: bytes) -> Persistence:
    """Return a stored entry.

    Raises:
        StateLost: it is none; the database is damaged.
    """
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateLost("a row cannot be read") from error


def is_same(known: Persistence, seen: Persistence) -> bool:
    """Tell whether a reader says of an entry what it said before; packages are not its matter."""
    return _of_reader(known) == _of_reader(seen)


def _of_reader(item: Persistence) -> Persistence:
    caveats = tuple(one for one in item.caveats if one not in _OF_PACKAGE)
    return structs.replace(item, package=UNSET, caveats=caveats)


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _item(entry: Entry, path: str, sha256: bytes | UnsetType) -> Persistence:
    value = entry.value
    return Persistence(
        mechanism=entry.mechanism,
        name=host_text(entry.name, NAME_CHARS_MAX),
        path=host_text(path, PATH_CHARS_MAX),
        value=UNSET if value is None else host_text(value, VALUE_CHARS_MAX),
        user=entry.user if entry.user is not None else UNSET,
        sha256=sha256,
        caveats=entry.caveats,
    )
