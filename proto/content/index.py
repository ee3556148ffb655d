"""The indicator index: what a host asks while matching, and the reader of the mapped file.

The file is read where it lies: opening checks header and sizes only, a lookup touches a few pages.
Any bytes give a reader or `ContentError`, and a damaged file gives at worst a wrong answer or
`ContentError` from a lookup, never another exception.
"""

from collections.abc import Mapping
from mmap import mmap
from typing import Final, Protocol

from proto.content.addresses import Network, address_number, address_text, masked
from proto.content.domains import domain
from proto.content.errors import BadValue, ContentDamaged
from proto.content.exact import ExactTable, keyed
from proto.content.filters import Filter
from proto.content.finders import (
    Finder,
    TextTable,
    any_spelling,
    digest_finder,
    name_finder,
    nothing,
)
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.layout import (
    EXACT,
    FILTER,
    RANGES_V4,
    RANGES_V6,
    RECORDS,
    SETS,
    STRINGS,
    Layout,
    Section,
    check_sections,
    read_layout,
)
from proto.content.normalise import network, network_kind
from proto.content.ranges import ROWS_MAX, RangesV4, RangesV6, SetTable
from proto.content.records import IndicatorRow, Provenance, RecordTable
from proto.content.urls import parse_url, plain_url

__all__ = ["IndicatorIndex", "IndicatorRow", "MappedIndex"]

_SETS_KEPT_MAX: Final = 4096


class IndicatorIndex(Protocol):
    """A release of indicators that never changes.

    A value that is not of its kind matches nothing. Expiry is left to the caller, who has a clock.
    """

    @property
    def version(self) -> int:
        """The release number; a later release has a higher one."""
        ...

    @property
    def count(self) -> int:
        """How many indicators, one for each feed that lists a value."""
        ...

    @property
    def built_at(self) -> int:
        """When it was built, in nanoseconds UTC."""
        ...

    def lookup(self, kind: IndicatorKind, value: str) -> tuple[IndicatorRow, ...]:
        """Return the indicators of this kind that are exactly this value, in any spelling.

        Raises:
            ContentDamaged: the file changed under us.
        """
        ...

    def lookup_address(self, address: str, port: int | None) -> tuple[IndicatorRow, ...]:
        """Return every address, network and endpoint that covers an address seen.

        Args:
            address: IPv4 or IPv6.
            port: the port seen; None where none was, which leaves out indicators with a port.

        Raises:
            ContentDamaged: the file changed under us.
        """
        ...

    def lookup_name(self, name: str) -> tuple[IndicatorRow, ...]:
        """Return the host that a name is, and every domain that it lies in.

        Raises:
            ContentDamaged: the file changed under us.
        """
        ...

    def lookup_url(self, url: str) -> tuple[IndicatorRow, ...]:
        """Return the URL, every prefix of it, and what its host is or lies in.

        Raises:
            ContentDamaged: the file changed under us.
        """
        ...


class MappedIndex:
    """An index over the bytes of a file.

    Args:
        data: the whole file, untrusted; kept as long as the index lives.

    Raises:
        ContentDamaged: not an index, cut short, or with impossible sizes.
        ContentNewer: of a later format.
    """

    def __init__(self, data: bytes | memoryview | mmap) -> None:
        layout = read_layout(memoryview(data))
        self._layout = layout
        self._records = _records(layout)
        self._sets = SetTable(*_section(layout, SETS))
        self._v4 = RangesV4(*_section(layout, RANGES_V4))
        self._v6 = RangesV6(*_section(layout, RANGES_V6))
        self._sets_kept: dict[int, tuple[tuple[Provenance, int, int], ...]] = {}
        self._texts = _texts(layout, self._records)
        self._find_name = name_finder(
            self._texts.get(IndicatorKind.HOSTNAME), self._texts.get(IndicatorKind.DOMAIN)
        )
        self._find_url = self._finder(IndicatorKind.URL)
        self._find_prefix = self._finder(IndicatorKind.URL_PREFIX)
        self._finders = self._all_finders(layout)

    @property
    def version(self) -> int:
        """The release number."""
        return self._layout.release.version

    @property
    def count(self) -> int:
        """How many indicators, one for each feed that lists a value."""
        return self._layout.count

    @property
    def built_at(self) -> int:
        """When it was built, in nanoseconds UTC."""
        return self._layout.release.built_at

    @property
    def source(self) -> bytes:
        """The digest of what it was built from."""
        return self._layout.release.source

    def check(self) -> None:
        """Read the whole file and return if nothing changed since it was built.

        Raises:
            ContentDamaged: a section changed.
        """
        check_sections(self._layout)

    def lookup(self, kind: IndicatorKind, value: str) -> tuple[IndicatorRow, ...]:
        """Return the indicators of this kind that are exactly this value.

        Raises:
            ContentDamaged: the file changed under us.
        """
        finder = self._finders.get(kind)
        return finder(value) if finder else ()

    def matches(self, kind: IndicatorKind, value: str) -> tuple[IndicatorRow, ...]:
        """Return what a host that meets a value of this kind would match, wider kinds included.

        Raises:
            ContentDamaged: the file changed under us.
        """
        if kind in {IndicatorKind.DOMAIN, IndicatorKind.HOSTNAME}:
            return self.lookup_name(value)
        if kind in {IndicatorKind.URL, IndicatorKind.URL_PREFIX}:
            return self.lookup_url(value)
        return self.lookup(kind, value)

    def lookup_address(self, address: str, port: int | None) -> tuple[IndicatorRow, ...]:
        """Return every address, network and endpoint that covers an address seen.

        Raises:
            ContentDamaged: the file changed under us.
        """
        try:
            version, number = address_number(address)
        except BadValue:
            return ()
        found = self._v4.find(number) if version == 4 else self._v6.find(number)
        if found < 0:
            return ()
        # A dotted quad that was read has one spelling.
        text = address if version == 4 and ":" not in address else ""
        return self._covering(version, number, found, port or 0, text)

    def lookup_name(self, name: str) -> tuple[IndicatorRow, ...]:
        """Return the host that a name is, and every domain that it lies in.

        Raises:
            ContentDamaged: the file changed under us.
        """
        if name.isascii() and ":" not in name:
            # What is no name is in no table: only its spelling matters here.
            name = name.lower().removesuffix(".")
        else:
            try:
                name = domain(name)
            except BadValue:
                return ()
        return self._find_name(name)

    def lookup_url(self, url: str) -> tuple[IndicatorRow, ...]:
        """Return the URL, every prefix of it, and what its host is or lies in.

        Raises:
            ContentDamaged: the file changed under us.
        """
        plain = plain_url(url)
        has_prefixes = IndicatorKind.URL_PREFIX in self._texts
        if plain and not has_prefixes:
            return self._find_url(url) + self._find_name(plain[2])
        try:
            parts = parse_url(url)
        except BadValue:
            return ()
        found = self._find_url(parts.text)
        if has_prefixes:
            for prefix in parts.prefixes():
                found += self._find_prefix(prefix)
        if parts.is_address:
            return found + self.lookup_address(parts.host, parts.service_port)
        return found + self._find_name(parts.host)

    def _covering(
        self, version: int, number: int, set_id: int, port: int, text: str = ""
    ) -> tuple[IndicatorRow, ...]:
        bits = 32 if version == 4 else 128
        rows = []
        entries = self._sets_kept.get(set_id) or self._entries(set_id, port)
        for provenance, entry_port, prefix in entries:
            if entry_port and entry_port != port:
                continue
            if prefix > bits:
                raise ContentDamaged("a network of the index has an impossible prefix length")
            if prefix == bits and not entry_port:
                # Nearly every indicator of this kind is a single address.
                kind = IndicatorKind.IPV4 if version == 4 else IndicatorKind.IPV6
                rows.append(IndicatorRow(kind, text or address_text(version, number), provenance))
            else:
                found = Network(version, masked(version, number, prefix), prefix, entry_port)
                rows.append(IndicatorRow(network_kind(found), str(found), provenance))
        return tuple(rows)

    def _entries(self, set_id: int, port: int) -> tuple[tuple[Provenance, int, int], ...]:
        """Return what a set holds; a small one is kept, since most addresses share a few."""
        get = self._records.get
        entries = self._sets.get(set_id)
        if len(entries) > ROWS_MAX:
            entries = self._sets.get(set_id, port)
            return tuple([(get(record), port, prefix) for record, port, prefix in entries])
        found = tuple([(get(record), port, prefix) for record, port, prefix in entries])
        if len(self._sets_kept) >= _SETS_KEPT_MAX:
            self._sets_kept.clear()
        self._sets_kept[set_id] = found
        return found

    def _all_finders(self, layout: Layout) -> Mapping[IndicatorKind, Finder]:
        finders = {}
        for kind, spec in KINDS.items():
            if spec.shape is Shape.ADDRESS:
                finders[kind] = self._network_finder(kind)
            elif kind in self._texts:
                finders[kind] = any_spelling(kind, self._texts[kind].finder())
            elif (section := layout.find(EXACT, spec.code)) is not None:
                finders[kind] = digest_finder(spec, _table(section), self._records)
        return finders

    def _finder(self, kind: IndicatorKind) -> Finder:
        """Return what finds a text of a kind in its one spelling."""
        table = self._texts.get(kind)
        return table.finder() if table else nothing

    def _network_finder(self, kind: IndicatorKind) -> Finder:
        def find(value: str) -> tuple[IndicatorRow, ...]:
            try:
                wanted = network(kind, value)
            except BadValue:
                return ()
            ranges = self._v4 if wanted.version == 4 else self._v6
            found = ranges.find(wanted.first)
            if found < 0:
                return ()
            rows = self._covering(wanted.version, wanted.first, found, wanted.port)
            return tuple(row for row in rows if row.value == str(wanted))

        return find


_EMPTY_SECTIONS: Final[Mapping[int, memoryview]] = {
    SETS: memoryview(bytes(8)),
    STRINGS: memoryview(bytes(4)),
}


def _table(section: Section) -> ExactTable:
    return ExactTable(memoryview(section.data), section.count, section.parameter)


def _texts(layout: Layout, records: RecordTable) -> Mapping[IndicatorKind, TextTable]:
    base, found = keyed(layout.release.salt), {}
    for kind, spec in KINDS.items():
        section = layout.find(EXACT, spec.code)
        if spec.shape is not Shape.TEXT or section is None:
            continue
        bits = layout.find(FILTER, spec.code)
        first_look = Filter(memoryview(bits.data), bits.count) if bits else Filter(None, 0)
        found[kind] = TextTable(kind, _table(section), first_look, base, records)
    return found


def _section(layout: Layout, kind: int) -> tuple[memoryview, int]:
    """Return a section and its count; a file without it has none of these."""
    section = layout.find(kind)
    if section is None:
        return _EMPTY_SECTIONS.get(kind, memoryview(b"")), 0
    return memoryview(section.data), section.count


def _records(layout: Layout) -> RecordTable:
    records, count = _section(layout, RECORDS)
    table = RecordTable(records, *_section(layout, STRINGS))
    if len(table) != count:
        raise ContentDamaged("the records have an impossible size")
    return table
