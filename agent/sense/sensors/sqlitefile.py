"""Rows of one table of an SQLite file, read in pure Python and only as far as they are asked for.

A database of the host is attacker's input, and no parser in C shall take it in the process that
holds the signing key. A long value lies in a chain of pages: whoever wants its beginning reads no
further. What was committed to the write-ahead log and not yet moved into the file counts.

Source: "Database File Format" of SQLite, parts 1 (pages, b-trees, overflow), 2 (records), 4 (WAL).
"""

import os
import struct
from collections.abc import Iterator
from typing import ClassVar, Final

from runtime.errors import Fault, VedetteError

PAGES_MAX: Final = 1 << 20
FRAMES_MAX: Final = 1 << 15
DEPTH_MAX: Final = 16
COLUMNS_MAX: Final = 64

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_SCHEMA_PAGE: Final = 1
_LEAF: Final = 0x0D
_INTERIOR: Final = 0x05
_WAL_MAGIC: Final = (0x377F0682, 0x377F0683)
_WAL_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_PAGE_HEADER: Final = struct.Struct(">BHHHBI")
_NUMBER: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_VARINT_BYTES_MAX: Final = 9

Cell = "int | Value | None"


class NotSqlite(VedetteError):
    """These are not the bytes of a sound database."""

    fault: ClassVar[Fault] = Fault.HOST


class Value:
    """A text or blob of a row, read piece by piece."""

    __slots__ = ("_at", "_payload", "size")

    def __init__(self, payload: "_Payload", at: int, size: int) -> None:
        self._payload = payload
        self._at = at
        self.size = size

    def read(self, at: int, count: int) -> bytes:
        """Return bytes of it; fewer than ``count`` only at its end.

        Raises:
            NotSqlite: the chain is broken.
            OSError: as of pread(2).
        """
        count = max(0, min(count, self.size - at))
        return self._payload.read(self._at + at, count)


class SqliteFile:
    """An SQLite database, as it was committed last.

    Args:
        fd: of the file, for reading.
        wal_fd: of its write-ahead log; None where there is none.

    Raises:
        NotSqlite: it is none, or of a form that no sound one has.
        OSError: as of pread(2).
    """

    def __init__(self, fd: int, wal_fd: int | None = None) -> None:
        self._fd = fd
        self._wal_fd = wal_fd
        header = os.pread(fd, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
            raise NotSqlite("not an SQLite database")
        size = _SHORT.unpack_from(header, 16)[0]
        self.page_bytes = 65536 if size == 1 else size
        self.usable_bytes = self.page_bytes - header[20]
        if self.page_bytes not in {1 << power for power in range(9, 17)}:
            raise NotSqlite("pages of a size that no database has")
        if self.usable_bytes < 480:
            raise NotSqlite("pages with too little room")
        self._frames = {} if wal_fd is None else _frames(wal_fd, self.page_bytes)

    def rows(self, table: str) -> Iterator[list[int | Value | None]]:
        """Yield the columns of each row of a table, in the order of their numbers.

        Numbers with a fraction are None; a column that is the row's number is that number.

        Raises:
            NotSqlite: there is no such table, or it is damaged.
            OSError: as of pread(2).
        """
        for _, columns in self._tree(_SCHEMA_PAGE):
            if len(columns) >= 5 and _text(columns[0]) == "table" and _text(columns[1]) == table:
                root = columns[3]
                break
        else:
            raise NotSqlite(f"no table {table}")
        if not isinstance(root, int) or root <= 0:
            raise NotSqlite(f"the table {table} begins nowhere")
        for _, columns in self._tree(root):
            yield columns

    def page(self, number: int) -> bytes:
        """Return a page, from the log where that has a newer one.

        Raises:
            NotSqlite: it lies outside the file.
            OSError: as of pread(2).
        """
        if not 0 < number <= PAGES_MAX:
            raise NotSqlite("a page outside the file")
        at = self._frames.get(number)
        if at is not None and self._wal_fd is not None:
            data = os.pread(self._wal_fd, self.page_bytes, at)
        else:
            data = os.pread(self._fd, self.page_bytes, (number - 1) * self.page_bytes)
        if len(data) < self.page_bytes:
            raise NotSqlite("a page outside the file")
        return data

    def _tree(self, root: int) -> Iterator[tuple[int, list[int | Value | None]]]:
        """Walk a table's tree from left to right; no page is visited twice."""
        seen: set[int] = set()
        stack = [root]
        while stack:
            number = stack.pop()
            if number in seen or len(stack) > PAGES_MAX:
                raise NotSqlite("a page is part of two trees")
            seen.add(number)
            data = self.page(number)
            start = _HEADER_BYTES if number == _SCHEMA_PAGE else 0
            kind, _, count, _, _, right = _PAGE_HEADER.unpack_from(data, start)
            if kind == _INTERIOR:
                stack.append(right)
                stack += reversed([_u32(data, at) for at in _cells(data, start + 12, count)])
            elif kind == _LEAF:
                for at in _cells(data, start + 8, count):
                    yield self._row(data, at)
            else:
                raise NotSqlite("a page that is no part of a table")

    def _row(self, data: bytes, at: int) -> tuple[int, list[int | Value | None]]:
        size, at = _varint(data, at)
        rowid, at = _varint(data, at)
        room = self.usable_bytes
        local = size
        if size > room - 35:
            least = (room - 12) * 32 // 255 - 23
            local = least + (size - least) % (room - 4)
            if local > room - 35:
                local = least
        more = 0
        if local < size:
            more = _u32(data, at + local)
        here = data[at : at + local]
        if len(here) < local:
            raise NotSqlite("a row outside its page")
        return rowid, _columns(_Payload(self, here, size, more), rowid)


class _Payload:
    """The bytes of a row: those on its own page, and a chain of pages read as far as needed."""

    __slots__ = ("_data", "_file", "_next", "size")

    def __init__(self, file: SqliteFile, here: bytes, size: int, more: int) -> None:
        self._file = file
        self._data = bytearray(here)
        self._next = more
        self.size = size

    def read(self, at: int, count: int) -> bytes:
        end = min(at + count, self.size)
        while len(self._data) < end:
            if not self._next:
                raise NotSqlite("a value ends too early")
            page = self._file.page(self._next)
            self._next = _u32(page, 0)
            self._data += page[4 : self._file.usable_bytes]
        return bytes(self._data[at:end])


def _columns(payload: _Payload, rowid: int) -> list[int | Value | None]:
    start = payload.read(0, _VARINT_BYTES_MAX)
    size, at = _varint(start, 0)
    if size > COLUMNS_MAX * _VARINT_BYTES_MAX:
        raise NotSqlite("a row with too many columns")
    head = payload.read(0, size)
    body = size
    columns: list[int | Value | None] = []
    while at < len(head) and len(columns) < COLUMNS_MAX:
        kind, at = _varint(head, at)
        if kind >= 12:
            length = (kind - 12) // 2
            columns.append(Value(payload, body, length))
        elif kind in _INTEGER_BYTES:
            length = _INTEGER_BYTES[kind]
            columns.append(int.from_bytes(payload.read(body, length), "big", signed=True))
        else:
            length = 8 if kind == 7 else 0
            columns.append({0: rowid, 8: 0, 9: 1}.get(kind))
        body += length
    if body > payload.size:
        raise NotSqlite("a row longer than it says")
    return columns


def _frames(fd: int, page_bytes: int) -> dict[int, int]:
    """Return where the newest committed page of each number lies in the log."""
    head = os.pread(fd, _WAL_HEADER.size, 0)
    if len(head) < _WAL_HEADER.size:
        return {}
    magic, _, size, _, *salts = _WAL_HEADER.unpack(head)[:6]
    if magic not in _WAL_MAGIC or size != page_bytes:
        return {}
    committed: dict[int, int] = {}
    waiting: dict[int, int] = {}
    step = _FRAME.size + page_bytes
    total = os.fstat(fd).st_size
    for index in range(FRAMES_MAX):
        at = _WAL_HEADER.size + index * step
        if at + step > total:
            break
        number, commits, *marks = _FRAME.unpack(os.pread(fd, _FRAME.size, at))[:4]
        if marks != salts:
            break  # left over from before the log began anew
        waiting[number] = at + _FRAME.size
        if commits:
            committed |= waiting
            waiting.clear()
    return committed


def _cells(data: bytes, at: int, count: int) -> list[int]:
    if at + 2 * count > len(data):
        raise NotSqlite("a page with more cells than room")
    return list(struct.unpack_from(f">{count}H", data, at))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if at + index >= len(data):
            raise NotSqlite("a number outside its page")
        byte = data[at + index]
        if index == _VARINT_BYTES_MAX - 1:
            return value << 8 | byte, at + index + 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    raise NotSqlite("a number without an end")


def _u32(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise NotSqlite("a number outside its page")
    number: int = _NUMBER.unpack_from(data, at)[0]
    return number


def _text(cell: object) -> str:
    return cell.read(0, 256).decode("utf-8", "replace") if isinstance(cell, Value) else ""
