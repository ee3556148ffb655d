"""What is added to wtmp and btmp, by a cursor that outlives restarts and rotation.

At first a file is taken to its end: what happened before us is no news. A file that was renamed is
read to its end where it went, one that was cut or rewritten in place is a loss that is said.
"""

import hashlib
import os
from collections.abc import Generator
from typing import Final

import msgspec
from msgspec import Struct

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.told import StateLost, Told
from agent.sense.sensors.utmp import DEAD_PROCESS, RECORD_BYTES, USER_PROCESS, parse_session
from proto.model import Login

WTMP: Final = "/var/log/wtmp"
BTMP: Final = "/var/log/btmp"
FILES: Final = (WTMP, BTMP)
# Newer systems write these instead.
NOT_READ: Final = ("/var/lib/wtmpdb/wtmp.db", "/var/lib/lastlog/lastlog2.db")
RECORDS_A_SLICE: Final = 64


class Place(Struct, frozen=True, array_like=True):
    """How far a file was read; ``last`` is a digest of the record before that place."""

    inode: int
    offset: int
    last: bytes


class Loss(Struct, frozen=True):
    """Records that are gone before they were read, and why."""

    why: str


class Record(Struct, frozen=True):
    """A login that was recorded, and when; nanoseconds UTC."""

    login: Login
    at: int
    path: str


Steps = Generator[Record | Loss | None, None, None]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Place)


class LoginRecords:
    """Reads the files on.

    Args:
        host: the only way to them.
        told: keeps the places.
    """

    def __init__(self, host: HostRoot, told: Told) -> None:
        self._host = host
        self._told = told
        self.problems: tuple[str, ...] = ()

    def read(self) -> Steps:
        """Yield what was recorded since the last time; None between slices.

        Raises:
            StateLost: the database is damaged.
        """
        problems = [f"{path} is not read" for path in NOT_READ if self._is_there(path)]
        for path in FILES:
            try:
                yield from self._file(path)
            except HostFileMissing:
                continue
            except HostFileError as error:
                problems.append(error.message)
        self.problems = tuple(problems)

    def _file(self, path: str) -> Steps:
        known = self._place(path)
        seen = self._host.stat(path)
        if known is None:
            end = seen.st_size - seen.st_size % RECORD_BYTES
            yield from self._read(path, Place(seen.st_ino, end, b""), end)
            return
        if seen.st_ino != known.inode:
            yield from self._rotated(path, known, seen.st_ino)
            known = Place(seen.st_ino, 0, b"")
        elif seen.st_size < known.offset:
            why = f"{path} was cut from {known.offset} to {seen.st_size} bytes"
            known = Place(seen.st_ino, 0, b"")
            self._keep(path, known)
            yield Loss(why)
        elif seen.st_size - known.offset < RECORD_BYTES and known.last:
            return
        yield from self._read(path, known, seen.st_size)

    def _rotated(self, path: str, known: Place, inode: int) -> Steps:
        """Read what was added before the file was renamed."""
        old = f"{path}.1"
        try:
            seen = self._host.stat(old)
        except HostFileError:
            seen = None
        if seen is None or seen.st_ino != known.inode or seen.st_size < known.offset:
            self._keep(path, Place(inode, 0, b""))
            yield Loss(f"{path} is another file and the one before is gone")
            return
        yield from self._read(old, known, seen.st_size, path)

    def _read(self, path: str, at: Place, end: int, name: str = "") -> Steps:
        """Read records up to ``end`` and keep the place after each slice of them."""
        name = name or path
        fd = self._host.open_file(path)
        try:
            last = self._last(fd, at.offset)
            if at.last and last != at.last:
                self._keep(name, Place(at.inode, at.offset, last))
                yield Loss(f"{name} was rewritten before byte {at.offset}")
            offset = at.offset
            while offset + RECORD_BYTES <= end:
                room = min(end - offset, RECORDS_A_SLICE * RECORD_BYTES)
                data = os.pread(fd, room - room % RECORD_BYTES, offset)
                if len(data) < RECORD_BYTES:
                    break
                for place in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
                    record = _record(data[place : place + RECORD_BYTES], name)
                    offset += RECORD_BYTES
                    last = _digest(data[place : place + RECORD_BYTES])
                    if record is not None:
                        self._keep(name, Place(at.inode, offset, last))
                        yield record
                yield None
            self._keep(name, Place(at.inode, offset, last))
        except OSError as error:
            raise HostFileError(path, "cannot be read", error.errno or 0) from error
        finally:
            os.close(fd)

    def _last(self, fd: int, offset: int) -> bytes:
        if offset < RECORD_BYTES:
            return _digest(b"")
        return _digest(os.pread(fd, RECORD_BYTES, offset - RECORD_BYTES))

    def _place(self, path: str) -> Place | None:
        value = self._told.get(_key(path))
        if value is None:
            return None
        try:
            return _decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StateLost("a row cannot be read") from error

    def _keep(self, path: str, place: Place) -> None:
        self._told.put(_key(path), _encoder.encode(place))

    def _is_there(self, path: str) -> bool:
        try:
            self._host.stat(path)
        except HostFileError:
            return False
        return True


def _record(raw: bytes, path: str) -> Record | None:
    session = parse_session(raw)
    if session is None:
        return None
    if path == BTMP:
        # A failed login stands there under any kind.
        return Record(session.login("refused"), session.at, path) if session.user else None
    if session.kind not in {USER_PROCESS, DEAD_PROCESS}:
        return None
    outcome = "opened" if session.kind == USER_PROCESS else "closed"
    return Record(session.login(outcome), session.at, path)


def _digest(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=8).digest()


def _key(path: str) -> bytes:
    return b"l:" + os.fsencode(path)
