"""The laws of the indicator index."""

import hashlib
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proto.content.errors import ContentDamaged, ContentError
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from proto.content.layout import SETS, Section, pack_layout, read_layout
from tests.proto.content.builders import (
    BUILT_AT,
    EICAR,
    a_file,
    a_provenance,
    a_release,
    an_index,
    some_rows,
)

FILE = a_file()
INDEX = MappedIndex(FILE)
EMPTY = an_index([])
ASKED = [*((kind, value) for kind, value, _ in some_rows()), (IndicatorKind.SHA256, "0" * 64)]


def ask_everything(index: MappedIndex) -> None:
    """Every question gets rows or a content error, never another exception."""
    for kind, value in ASKED:
        for question in (
            lambda kind=kind, value=value: index.lookup(kind, value),
            lambda value=value: index.lookup_address(value.partition("/")[0], 4444),
        ):
            try:
                assert isinstance(question(), tuple)
            except ContentError:
                continue


def resealed(data: bytes) -> bytes:
    """The same bytes with a header that fits them, as a hostile signer could make."""
    sections = struct.unpack_from("<I", data, 12)[0]
    table_end = min(len(data), 128 + 32 * sections)
    digest = hashlib.sha256(data[:96] + data[128:table_end]).digest()
    return data[:96] + digest + data[128:]


def test_every_indicator_is_found_by_its_value() -> None:
    index = an_index()

    for kind, value, provenance in some_rows():
        found = index.lookup(kind, value)
        assert [(row.kind, row.value, row.provenance.feed) for row in found] == [
            (kind, value, provenance.feed)
        ]


def test_an_index_says_what_it_is() -> None:
    index = an_index(release=a_release(1234))

    assert (index.version, index.count, index.built_at) == (1234, len(some_rows()), BUILT_AT)
    assert index.source == b"f" * 32


def test_an_address_finds_all_that_covers_it() -> None:
    index = an_index()

    with_port = {(row.kind, row.value) for row in index.lookup_address("192.0.2.1", 4444)}
    without = {(row.kind, row.value) for row in index.lookup_address("192.0.2.1", None)}

    assert with_port == {
        (IndicatorKind.IPV4, "192.0.2.1"),
        (IndicatorKind.CIDR, "192.0.2.0/24"),
        (IndicatorKind.IP_PORT, "192.0.2.1:4444"),
    }
    assert without == with_port - {(IndicatorKind.IP_PORT, "192.0.2.1:4444")}
    assert {row.value for row in index.lookup_address("2001:db8::9", 1)} == {"2001:db8::/32"}


def test_another_port_leaves_out_indicators_with_a_port() -> None:
    found = an_index().lookup_address("192.0.2.1", 443)

    assert IndicatorKind.IP_PORT not in {row.kind for row in found}


def test_spelling_makes_no_difference() -> None:
    index = an_index()

    assert index.lookup(IndicatorKind.SHA256, EICAR.upper())
    assert index.lookup(IndicatorKind.FILE_NAME, "/tmp/.x/kdevtmpfsi")
    assert index.lookup_address("::ffff:192.0.2.1", None)
    assert index.lookup_address("2001:DB8:0:0::1", None)
    assert index.lookup(IndicatorKind.CIDR, "192.0.2.77/24")


def test_case_makes_a_difference_to_names() -> None:
    assert not an_index().lookup(IndicatorKind.FILE_NAME, "KDEVTMPFSI")


def test_kinds_do_not_mix() -> None:
    index = an_index()

    assert not index.lookup(IndicatorKind.PROCESS_NAME, "kdevtmpfsi")
    assert not index.lookup(IndicatorKind.IP_PORT, "192.0.2.1:4443")
    assert not index.lookup(IndicatorKind.CIDR, "192.0.2.0/25")


@given(value=st.text())
def test_what_is_no_value_matches_nothing(value: str) -> None:
    for index in (INDEX, EMPTY):
        for kind in IndicatorKind:
            assert index.lookup(kind, value) == ()
        assert index.lookup_address(value, None) == ()


@pytest.mark.parametrize("value", ["", EICAR[:-1], EICAR + "00", f"{EICAR[:-1]} ", "g" * 64])
def test_a_digest_of_another_form_matches_nothing(value: str) -> None:
    assert INDEX.lookup(IndicatorKind.SHA256, value) == ()


def test_a_network_with_an_impossible_prefix_is_damage() -> None:
    layout = read_layout(memoryview(FILE))
    sections = [
        structs.replace(section, data=bytes(section.data).replace(b"\x18\0", b"\x77\0"))
        if section.type == SETS
        else section
        for section in layout.sections
    ]
    index = MappedIndex(pack_layout(layout.release, layout.count, sections))

    with pytest.raises(ContentDamaged, match="prefix"):
        index.lookup_address("192.0.2.77", None)


def test_a_value_of_two_feeds_has_two_rows() -> None:
    rows = [(IndicatorKind.SHA256, EICAR, a_provenance(feed)) for feed in ("a", "b")]
    rows += [(IndicatorKind.IPV4, "198.51.100.7", a_provenance(feed)) for feed in ("a", "b")]
    index = an_index(rows)

    assert {r.provenance.feed for r in index.lookup(IndicatorKind.SHA256, EICAR)} == {"a", "b"}
    assert {r.provenance.feed for r in index.lookup_address("198.51.100.7", 1)} == {"a", "b"}


def test_no_indicator_of_many_is_missed_and_no_random_value_is_hit() -> None:
    seeded = random.Random(7)
    digests = [seeded.randbytes(32).hex() for _ in range(3000)]
    names = [f"name-{number}" for number in range(3000)]
    addresses = [".".join(str(seeded.randrange(1, 255)) for _ in range(4)) for _ in range(3000)]
    index = an_index(
        [(IndicatorKind.SHA256, value, a_provenance()) for value in digests]
        + [(IndicatorKind.PROCESS_NAME, value, a_provenance()) for value in names]
        + [(IndicatorKind.IPV4, value, a_provenance()) for value in addresses]
    )

    assert all(index.lookup(IndicatorKind.SHA256, value) for value in digests)
    assert all(index.lookup(IndicatorKind.PROCESS_NAME, value) for value in names)
    assert all(index.lookup_address(value, 443) for value in addresses)
    assert not any(
        index.lookup(IndicatorKind.SHA256, seeded.randbytes(32).hex()) for _ in range(3000)
    )
    assert not any(index.lookup(IndicatorKind.PROCESS_NAME, f"other-{n}") for n in range(3000))


def test_sections_of_an_unknown_type_are_skipped() -> None:
    layout = read_layout(memoryview(FILE))
    later = pack_layout(
        layout.release, layout.count, [*layout.sections, Section(60_000, 9, 1, 0, b"later")]
    )

    assert MappedIndex(later).lookup(IndicatorKind.SHA256, EICAR)


def test_a_file_cut_anywhere_is_refused() -> None:
    for size in range(0, len(FILE), 7):
        with pytest.raises(ContentError):
            MappedIndex(FILE[:size])


@given(place=st.integers(0, len(FILE) * 8 - 1), honest=st.booleans())
def test_any_flipped_bit_is_refused_or_changes_answers_at_most(place: int, honest: bool) -> None:
    changed = bytearray(FILE)
    changed[place // 8] ^= 1 << place % 8
    data = bytes(changed) if honest else resealed(bytes(changed))

    try:
        index = MappedIndex(data)
    except ContentError:
        return
    ask_everything(index)


@given(
    place=st.integers(128, len(FILE) - 1),
    junk=st.binary(min_size=1, max_size=64),
    end=st.booleans(),
)
def test_any_bytes_written_over_a_file_are_refused_or_change_answers_at_most(
    place: int, junk: bytes, end: bool
) -> None:
    changed = FILE[:place] + junk + FILE[place + len(junk) :]
    if end:
        changed = changed[: len(FILE)]

    try:
        index = MappedIndex(resealed(changed))
    except ContentError:
        return
    ask_everything(index)


def test_a_changed_section_is_found_by_the_check() -> None:
    changed = bytearray(FILE)
    changed[-9] ^= 1
    index = MappedIndex(bytes(changed))

    with pytest.raises(ContentDamaged):
        index.check()
    MappedIndex(FILE).check()


def test_an_index_reads_where_the_bytes_lie() -> None:
    rows = [(IndicatorKind.SHA256, f"{n:064x}", a_provenance()) for n in range(2000)]
    data = bytearray(a_file(rows))
    index = MappedIndex(memoryview(data))
    listed = f"{1999:064x}"

    assert index.lookup(IndicatorKind.SHA256, listed)
    data[128 + 32 * 6 :] = bytes(len(data) - 128 - 32 * 6)

    assert not index.lookup(IndicatorKind.SHA256, listed)
