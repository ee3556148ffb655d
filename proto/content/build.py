"""Builds an index file: the same indicators and the same release give the same bytes."""

from typing import Final

from proto.content.addresses import Network
from proto.content.errors import ContentTooLarge
from proto.content.exact import digest_fingerprint, pack_exact, text_fingerprint
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.layout import (
    DIGEST_BYTES,
    EXACT,
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
from proto.content.normalise import network, normalise, sha256_bytes
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
        self._exact: dict[int, list[int]] = {}
        self._networks: dict[int, set[tuple[Network, int]]] = {4: set(), 6: set()}

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
            key, confirmation = digest_fingerprint(sha256_bytes(value))
        else:
            key, confirmation = text_fingerprint(normalise(kind, value), self._release.salt)
        record = self._records.id_of(provenance)
        self._exact.setdefault(spec.code, []).append(key << 64 | confirmation << 32 | record)

    def add_network(self, found: Network, provenance: Provenance) -> None:
        """Add one indicator of an address kind, already read."""
        self._networks[found.version].add((found, self._records.id_of(provenance)))

    def finish(self) -> bytes:
        """Return the file.

        Raises:
            ContentTooLarge: a limit of the format would be passed.
        """
        sections = [self._exact_section(code) for code in sorted(self._exact)]
        count = sum(section.count for section in sections)
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

    def _exact_section(self, code: int) -> Section:
        entries = sorted(set(self._exact[code]))
        data, bits = pack_exact(entries)
        return Section(EXACT, code, len(entries), bits, data)


def _section(kind: int, packed: tuple[bytes, int]) -> Section:
    data, count = packed
    return Section(kind, 0, count, 0, data)
