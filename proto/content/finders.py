"""How a value of each kind is found in its table, as fast as Python goes.

Each is asked hundreds of thousands of times a second, nearly always in vain: so what a question
needs is at hand in local names, and the first look at a text is written out where it is needed.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2s
from zlib import crc32

from proto.content.domains import PARENT_LABELS_MAX
from proto.content.errors import BadValue
from proto.content.exact import ExactTable, text_bytes
from proto.content.filters import Filter
from proto.content.kinds import IndicatorKind, KindSpec
from proto.content.normalise import normaliser
from proto.content.ranges import ROWS_MAX
from proto.content.records import IndicatorRow, RecordTable

Rows = tuple[IndicatorRow, ...]
Finder = Callable[[str], Rows]


def rows_of(kind: IndicatorKind, value: str, records: Sequence[int], table: RecordTable) -> Rows:
    """Return the indicators that a value's records make, at most `ROWS_MAX`.

    Raises:
        ContentDamaged: a record does not exist.
    """
    return tuple([IndicatorRow(kind, value, table.get(found)) for found in records[:ROWS_MAX]])


def nothing(_: str) -> Rows:
    """Find nothing: the file has no table of this kind."""
    return ()


def digest_finder(spec: KindSpec, table: ExactTable, records: RecordTable) -> Finder:
    """Return what finds a digest in hexadecimal, of either case."""
    kind, size, records_of, get = spec.kind, spec.digest_bytes, table.records_of, records.get

    def find(value: str) -> Rows:
        try:
            digest = bytes.fromhex(value)
        except ValueError:
            return ()
        if len(digest) != size or len(value) != 2 * size:
            return ()
        found = records_of(digest)
        if len(found) == 1:
            return (IndicatorRow(kind, digest.hex(), get(found[0])),)
        return rows_of(kind, digest.hex(), found, records) if found else ()

    return find


class TextTable:
    """The texts of one kind.

    Args:
        kind: of which kind.
        table: their fingerprints.
        first_look: says of most texts that they are not there.
        base: the hash that the file's salt begins.
        records: where they come from.
    """

    __slots__ = ("confirmed", "first_look")

    confirmed: Callable[[bytes, str], Rows]
    """Return the indicators of a text, given as bytes too, that passed the first look.

    Raises:
        ContentDamaged: the file changed under us.
    """

    def __init__(
        self,
        kind: IndicatorKind,
        table: ExactTable,
        first_look: Filter,
        base: blake2s,
        records: RecordTable,
    ) -> None:
        records_of, get = table.records_of, records.get

        def confirmed(data: bytes, text: str) -> Rows:
            hashed = base.copy()
            hashed.update(data)
            found = records_of(hashed.digest())
            if not found:
                return ()
            if len(found) == 1:
                return (IndicatorRow(kind, text, get(found[0])),)
            return rows_of(kind, text, found, records)

        self.first_look = first_look
        self.confirmed = confirmed

    def finder(self) -> Finder:
        """Return what finds a text in its one spelling."""
        bits, slots, confirmed = self.first_look.bits, self.first_look.slots, self.confirmed

        def find(text: str) -> Rows:
            try:
                data = text.encode()
            except UnicodeEncodeError:
                data = text_bytes(text)
            # `Filter.may_hold`, without the call.
            slot = crc32(data) * slots >> 32
            return confirmed(data, text) if bits[slot >> 3] >> (slot & 7) & 1 else ()

        return find


def any_spelling(kind: IndicatorKind, find: Finder) -> Finder:
    """Return what finds a value of a kind in any spelling."""
    normalised = normaliser(kind)

    def look(value: str) -> Rows:
        try:
            text = normalised(value)
        except BadValue:
            return ()
        return find(text)

    return look


def name_finder(hosts: TextTable | None, domains: TextTable | None) -> Finder:
    """Return what finds a name in its one spelling among hosts, and all it lies in among domains.

    Args:
        hosts: names that stand for themselves; None where there are none.
        domains: names that stand for all below them too; None where there are none.
    """
    find_host = hosts.finder() if hosts else nothing
    if domains is None:
        return find_host
    bits, slots = domains.first_look.bits, domains.first_look.slots
    confirmed = domains.confirmed

    def find(name: str) -> Rows:
        rows = find_host(name)
        data = name.encode()
        at = data.rfind(b".")
        # `parents`, written out: the widest first, the name itself at last.
        for _ in range(PARENT_LABELS_MAX):
            at = data.rfind(b".", 0, at) if at > 0 else -1
            part = data[at + 1 :]
            slot = crc32(part) * slots >> 32
            if bits[slot >> 3] >> (slot & 7) & 1:
                rows += confirmed(part, part.decode())
            if at < 0:
                return rows
        slot = crc32(data) * slots >> 32
        return rows + confirmed(data, name) if bits[slot >> 3] >> (slot & 7) & 1 else rows

    return find
