"""What is remembered of a file, and the keys it is remembered by.

A key is the directory, a NUL and the name: the rows of one directory lie together, and so do those
of a directory and all below it.
"""

import os
import stat
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from agent.sense.sensors.told import StateLost, Told

# A file whose ctime is this young may be written again without any stamp moving.
YOUNG_NS: Final = 50_000_000
ROWS_A_TIME: Final = 256


class FileRow(Struct, frozen=True, array_like=True):
    """A file as it was told; times in nanoseconds, ``mode`` with the type of the file.

    ``sha256`` is empty where there was nothing to hash or it was not done. ``unsure`` asks for
    another look although no stamp moves. ``md5`` is of a file that its package has a digest of;
    ``blamed`` says that it was told to differ, ``waits`` that it could not be said yet.
    """

    size: int
    modified: int
    changed: int
    inode: int
    mode: int
    uid: int
    gid: int
    sha256: bytes = b""
    unsure: bool = False
    md5: bytes = b""
    blamed: bool = False
    waits: bool = False

    def is_as(self, seen: os.stat_result) -> bool:
        """Tell whether nothing that can be seen without reading has moved."""
        return (
            self.changed == seen.st_ctime_ns
            and self.size == seen.st_size
            and self.modified == seen.st_mtime_ns
            and self.inode == seen.st_ino
            and self.mode == seen.st_mode
            and self.uid == seen.st_uid
            and self.gid == seen.st_gid
        )


_decoder = msgspec.msgpack.Decoder(FileRow)
_encoder = msgspec.msgpack.Encoder()


def encode_row(row: FileRow) -> bytes:
    """Return the row as it is stored."""
    return _encoder.encode(row)


def decode_row(value: bytes) -> FileRow:
    """Return the stored row.

    Raises:
        StateLost: it is none; the database is damaged.
    """
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateLost("a row cannot be read") from error


def key_of(path: bytes) -> bytes:
    """Return the key of a file."""
    directory, _, name = path.rpartition(b"/")
    return directory + b"\0" + name


def path_of(key: bytes) -> bytes:
    """Return the path that a key stands for."""
    return key.replace(b"\0", b"/", 1)


def row_of(seen: os.stat_result, sha256: bytes, *, unsure: bool) -> FileRow:
    """Return what to remember."""
    return FileRow(
        size=seen.st_size,
        modified=seen.st_mtime_ns,
        changed=seen.st_ctime_ns,
        inode=seen.st_ino,
        mode=seen.st_mode,
        uid=seen.st_uid,
        gid=seen.st_gid,
        sha256=sha256,
        unsure=unsure,
    )


def rows_in(told: Told, directory: bytes) -> Iterator[tuple[bytes, FileRow]]:
    """Yield name and row of each file remembered directly in ``directory``, in order of names.

    A few hundred are read at a time: rows may change, come and go while this runs.

    Raises:
        StateLost: the database is damaged.
    """
    skip = len(directory) + 1
    low, high = directory + b"\0", directory + b"\1"
    while found := told.between(low, high, ROWS_A_TIME):
        for key, value in found:
            yield key[skip:], decode_row(value)
        if len(found) < ROWS_A_TIME:
            return
        low = found[-1][0] + b"\0"


def directories_below(told: Told, top: bytes) -> Iterator[bytes]:
    """Yield ``top`` and each directory below it that holds a remembered file.

    Rows may be forgotten while this runs.

    Raises:
        StateLost: the database is damaged.
    """
    for first, high in ((top + b"\0", top + b"\1"), (top + b"/", top + b"0")):
        low = first
        while found := told.between(low, high, 1):
            directory = found[0][0].partition(b"\0")[0]
            yield directory
            low = directory + b"\1"


def type_caveat(mode: int) -> str:
    """Return what kind of thing it is where it is no regular file; empty for one."""
    for is_kind, word in (
        (stat.S_ISREG, ""),
        (stat.S_ISLNK, "symbolic link"),
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "character device"),
        (stat.S_ISBLK, "block device"),
    ):
        if is_kind(mode):
            return word
    return "of unknown type"
