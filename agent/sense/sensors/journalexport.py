"""Entries of the journal as ``journalctl --output=export`` writes them, read as they come. Pure.

A field is ``NAME=text`` and a line end, or ``NAME``, a line end, eight bytes of length, so many
bytes and a line end; an empty line ends an entry. Messages are anybody's text and of any length:
what is over the cap is passed over without being kept, and fields nobody asked for are too.

Source: https://systemd.io/JOURNAL_EXPORT_FORMATS/
"""

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

from msgspec import Struct

from runtime.errors import Fault, VedetteError

FIELD_BYTES_MAX: Final = 16 * 1024
# The journal's own cap on one field.
DATA_BYTES_MAX: Final = 768 * 1024 * 1024
FIELDS_MAX: Final = 1024

_NAME_BYTES_MAX: Final = 64
_LENGTH_BYTES: Final = 8
_NAME: Final = re.compile(rb"[A-Z0-9_]{1,64}", re.ASCII)


class JournalError(VedetteError):
    """The bytes are not what the journal's reader writes; what follows them has no meaning."""

    fault: ClassVar[Fault] = Fault.HOST


class Entry(Struct, frozen=True):
    """One entry: the fields that were asked for, and how many of them were cut."""

    fields: dict[str, bytes]
    cut: int = 0


class ExportParser:
    """Takes bytes as they come and gives entries.

    Args:
        wanted: names of the fields that are kept.
        field_bytes_max: of each of them.
    """

    def __init__(self, wanted: Iterable[str], field_bytes_max: int = FIELD_BYTES_MAX) -> None:
        self._wanted = frozenset(wanted)
        self._max = field_bytes_max
        self._buffer = b""
        self._at = 0
        self._begin()

    def feed(self, data: bytes) -> Iterator[Entry]:
        """Yield the entries that are whole with these bytes.

        Args:
            data: untrusted, as they came from the reader.

        Raises:
            JournalError: they are no export format.
        """
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        while True:
            step = self._data() if self._left else self._line()
            if step is None:
                return
            if step:
                if self._fields:
                    yield Entry(self._fields, self._cut)
                self._begin()

    @property
    def kept_bytes(self) -> int:
        """How many bytes wait for those after them."""
        return len(self._buffer) - self._at

    def _begin(self) -> None:
        self._fields: dict[str, bytes] = {}
        self._cut = 0
        self._count = 0
        self._name = ""  # of the field whose rest is still to come
        self._left = 0  # bytes of binary data still to come, the line end after it included
        self._is_long = False  # the rest of a line over the cap is passed over

    def _line(self) -> bool | None:
        """Take one line; True where it ends an entry, None where it is not all there yet."""
        end = self._buffer.find(b"\n", self._at)
        if self._is_long:
            self._is_long = end < 0
            self._at = len(self._buffer) if end < 0 else end + 1
            return None if end < 0 else False
        if end < 0:
            return self._without_end()
        line = self._buffer[self._at : end]
        if not line:
            self._at = end + 1
            return True
        name, equals, value = line.partition(b"=")
        if not equals:
            return self._binary(_checked(line), end + 1)
        self._count_field()
        self._keep(_checked(name), value)
        self._at = end + 1
        return False

    def _without_end(self) -> bool | None:
        """Wait for the end of a line, unless it is too long already."""
        if self.kept_bytes <= self._max + _NAME_BYTES_MAX + 1:
            return None
        self._count_field()
        name, _, value = self._buffer[self._at :].partition(b"=")
        self._keep(_checked(name), value)
        self._is_long, self._at = True, len(self._buffer)
        return None

    def _binary(self, name: str, at: int) -> bool | None:
        """Take the length of binary data; the name is read again where it is not there yet."""
        size = self._buffer[at : at + _LENGTH_BYTES]
        if len(size) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(size, "little")
        if length > DATA_BYTES_MAX:
            raise JournalError("a field is longer than the journal's longest")
        self._count_field()
        self._name, self._left = name, length + 1
        self._at = at + _LENGTH_BYTES
        if name in self._wanted:
            self._fields[name] = b""
        return False

    def _data(self) -> bool | None:
        """Take binary data as it comes, up to the cap; None where all that came is taken."""
        end = min(self._at + self._left, len(self._buffer))
        if end == self._at:
            return None
        piece = self._buffer[self._at : end]
        self._left -= len(piece)
        self._at = end
        if self._left == 0:
            if piece[-1:] != b"\n":
                raise JournalError("a field does not end where it said")
            piece = piece[:-1]
        if self._name in self._wanted:
            room = self._max + 1 - len(self._fields[self._name])
            self._keep(self._name, self._fields[self._name] + piece[: max(0, room)])
        return False

    def _keep(self, name: str, value: bytes) -> None:
        """Keep the value of a field; of binary data, what there is of it so far."""
        if name not in self._wanted:
            return
        if len(value) > self._max:
            self._cut += 1
            # Nothing more is added to it: what is over the cap is not looked at again.
            value = value[: self._max]
            self._name = ""
        self._fields[name] = value

    def _count_field(self) -> None:
        self._count += 1
        if self._count > FIELDS_MAX:
            raise JournalError("an entry has too many fields")


def _checked(name: bytes) -> str:
    if _NAME.fullmatch(name) is None:
        raise JournalError("a field has no name")
    return name.decode("ascii")
