"""Builds an index file: the same indicators and the same release give the same bytes."""

from typing import Final

from proto.content.addresses import Network
from proto.content.errors import ContentTooLarge
from proto.content.exact import FINGERPRINT_BYTES, ExactPool, keyed, text_bytes, text_hash
from proto.content.filters import FilterPool
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.layout import (
    DIGEST_BYTES,
    EXACT,
    FILTER,
    RANGES_V4,
    RANGES_V6,
    RECORDS,
    SALT_BYTES,
    SETS,
    STRINGS,
    Release,
    Section,
    pack_layout,
)
from proto.content.normalise import digest_bytes, network, normalise
from proto.content.ranges import SetPool, pack_v4, pack_v6, split
from proto.content.records import Provenance, RecordPool

INDICATORS_MAX: Final = 50_000_000


class IndexBuilder:
    """Takes indicators in any order, then gives the file once.

    Args:
        release: what the file will say of itself; its salt keys the fingerprints of texts.

    Raises:
        ValueError: a salt or source digest of another length than the format's.
    """

    def __init__(self, release: Release) -> None:
        if len(release.salt) != SALT_BYTES or len(release.source) != DIGEST_BYTES:
            raise ValueError("a release has a salt of 16 bytes and a source digest of 32")
        self._release = release
        self._records = RecordPool()
        self._keyed = keyed(release.salt)
        self._exact: dict[int, ExactPool] = {}
        self._filters: dict[int, FilterPool] = {}
        self._networks: dict[int, set[tuple[Network, int]]] = {4: set(), 6: set()}
        # Rows of one feed come one after another and mostly lead to one record.
        self._last: tuple[Provenance | None, int] = (None, 0)

    def add(self, kind: IndicatorKind, value: str, provenance: Provenance) -> None:
        """Add one indicator; the same twice counts once.

        Raises:
            BadValue: not a value of this kind.
        """
        spec = KINDS[kind]
        if spec.shape is Shape.ADDRESS:
            self.add_network(network(kind, value), provenance)
            return
        if spec.shape is Shape.DIGEST:
            fingerprint = digest_bytes(spec, value)[:FINGERPRINT_BYTES]
        else:
            data = text_bytes(normalise(kind, value))
            fingerprint = text_hash(data, self._keyed)
            self._filter(spec.code).add(data)
        pool = self._exact.get(spec.code)
        if pool is None:
            pool = self._exact[spec.code] = ExactPool()
        pool.add(fingerprint, self._record(provenance))

    def add_network(self, found: Network, provenance: Provenance) -> None:
        """Add one indicator of an address kind, already read."""
        self._networks[found.version].add((found, self._record(provenance)))

    def finish(self) -> bytes:
        """Return the file.

        Raises:
            ContentTooLarge: a limit of the format would be passed.
        """
        sections = [part for code in sorted(self._exact) for part in self._exact_sections(code)]
        count = sum(section.count for section in sections if section.type == EXACT)
        count += sum(map(len, self._networks.values()))
        if count > INDICATORS_MAX:
            raise ContentTooLarge(f"an index holds at most {INDICATORS_MAX} indicators")
        sets = SetPool()
        v4, v6 = (list(split(self._networks[version])) for version in (4, 6))
        sections += [
            Section(RANGES_V4, 0, len(v4), 0, pack_v4(v4, sets)),
            Section(RANGES_V6, 0, len(v6), 0, pack_v6(v6, sets)),
            _section(SETS, sets.pack()),
            _section(RECORDS, self._records.pack_records()),
            _section(STRINGS, self._records.pack_strings()),
        ]
        return pack_layout(self._release, count, sections)

    def _record(self, provenance: Provenance) -> int:
        last, record = self._last
        if provenance is not last:
            record = self._records.id_of(provenance)
            self._last = (provenance, record)
        return record

    def _filter(self, code: int) -> FilterPool:
        found = self._filters.get(code)
        if found is None:
            found = self._filters[code] = FilterPool()
        return found

    def _exact_sections(self, code: int) -> list[Section]:
        data, entries, bits = self._exact.pop(code).pack()
        sections = [Section(EXACT, code, entries, bits, data)]
        if code in self._filters:
            data, slots = self._filters.pop(code).pack(entries)
            sections.append(Section(FILTER, code, slots, 0, data))
        return sections


def _section(kind: int, packed: tuple[bytes, int]) -> Section:
    data, count = packed
    return Section(kind, 0, count, 0, data)
