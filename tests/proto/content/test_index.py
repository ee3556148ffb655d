"""The laws of the indicator index."""

import hashlib
import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proto.content.build import IndexBuilder
from proto.content.errors import ContentDamaged, ContentError
from proto.content.index import IndicatorRow, MappedIndex
from proto.content.kinds import IndicatorKind
from proto.content.layout import FILTER, SETS, Section, pack_layout, read_layout
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
            lambda value=value: index.lookup_url(f"http://x.{value}/a/b"),
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


NAMES = an_index(
    [
        (IndicatorKind.DOMAIN, "evil.example", a_provenance("tree")),
        (IndicatorKind.HOSTNAME, "only.example", a_provenance("host")),
        (IndicatorKind.URL, "http://pay.example/a?x=1", a_provenance("url")),
        (IndicatorKind.URL_PREFIX, "http://pay.example/gate", a_provenance("prefix")),
        (IndicatorKind.IP_PORT, "192.0.2.1:8080", a_provenance("c2")),
        (IndicatorKind.IPV4, "192.0.2.1", a_provenance("bad")),
    ]
)


def feeds_of(rows: tuple[IndicatorRow, ...]) -> list[str]:
    return [row.provenance.feed for row in rows]


@pytest.mark.parametrize(
    ("name", "feeds"),
    [
        ("evil.example", ["tree"]),
        ("a.b.Evil.Example.", ["tree"]),
        ("bücher.evil.example", ["tree"]),
        ("only.example", ["host"]),
        ("www.only.example", []),
        ("notevil.example", []),
        ("example", []),
        ("", []),
        (":", []),
        ("." * 300, []),
    ],
)
def test_a_domain_holds_for_all_below_it_and_a_host_for_itself(name: str, feeds: list[str]) -> None:
    assert feeds_of(NAMES.lookup_name(name)) == feeds


@pytest.mark.parametrize(
    ("url", "feeds"),
    [
        ("hxxp://pay.example/a?x=1#y", ["url"]),
        ("http://pay.example/a", []),
        ("http://pay.example/gate/x.php?id=1", ["prefix"]),
        ("http://pay.example/gates", []),
        ("https://pay.example/gate", []),
        ("https://cdn.evil.example/x", ["tree"]),
        ("http://192.0.2.1:8080/x", ["c2", "bad"]),
        ("http://3221225985/x", ["bad"]),
        ("not a url", []),
    ],
)
def test_a_url_is_met_by_itself_its_prefixes_and_its_host(url: str, feeds: list[str]) -> None:
    assert sorted(feeds_of(NAMES.lookup_url(url))) == sorted(feeds)


def test_a_value_of_any_kind_is_matched_as_a_host_would() -> None:
    assert feeds_of(NAMES.matches(IndicatorKind.HOSTNAME, "x.evil.example")) == ["tree"]
    assert feeds_of(NAMES.matches(IndicatorKind.URL, "http://x.evil.example/")) == ["tree"]
    assert feeds_of(NAMES.matches(IndicatorKind.IPV4, "192.0.2.1")) == ["bad"]


VALUES = {
    IndicatorKind.SHA256: EICAR,
    IndicatorKind.SHA1: EICAR[:40],
    IndicatorKind.MD5: EICAR[:32],
    IndicatorKind.JA3: EICAR[:32],
    IndicatorKind.JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1",
    IndicatorKind.FILE_NAME: "kdevtmpfsi",
    IndicatorKind.PROCESS_NAME: "xmrig",
    IndicatorKind.FILE_PATH: "/tmp/.X11/a",
    IndicatorKind.DOMAIN: "evil.example",
    IndicatorKind.HOSTNAME: "evil.example",
    IndicatorKind.URL: "http://evil.example/a",
    IndicatorKind.URL_PREFIX: "http://evil.example/a",
    IndicatorKind.EMAIL: "a@evil.example",
    IndicatorKind.MUTEX: "Global\\x",
    IndicatorKind.IPV4: "192.0.2.1",
    IndicatorKind.IPV6: "2001:db8::1",
    IndicatorKind.CIDR: "192.0.2.0/24",
    IndicatorKind.IP_PORT: "192.0.2.1:80",
}


@pytest.mark.parametrize("kind", IndicatorKind)
def test_a_value_of_every_kind_is_found_as_that_kind_alone(kind: IndicatorKind) -> None:
    index = an_index([(kind, VALUES[kind], a_provenance())])

    assert [(row.kind, row.value) for row in index.lookup(kind, VALUES[kind])] == [
        (kind, VALUES[kind])
    ]
    for other in set(IndicatorKind) - {kind}:
        assert index.lookup(other, VALUES[kind]) == ()


def test_an_index_without_filters_finds_the_same() -> None:
    layout = read_layout(memoryview(a_file()))
    kept = [section for section in layout.sections if section.type != FILTER]

    old = MappedIndex(pack_layout(layout.release, layout.count, kept))

    assert len(kept) < len(layout.sections)
    assert old.lookup(IndicatorKind.PROCESS_NAME, "xmrig")
    assert old.lookup(IndicatorKind.PROCESS_NAME, "bash") == ()


def many(count: int, seed: int) -> Iterator[tuple[IndicatorKind, str]]:
    """Yield so many different values of four kinds; those of two seeds differ."""
    for number in range(count):
        digest = hashlib.blake2b(b"%d %d" % (seed, number), digest_size=32).hexdigest()
        if number % 4 == 0:
            yield IndicatorKind.SHA256, digest
        elif number % 4 == 1:
            yield IndicatorKind.DOMAIN, f"{digest[:24]}.example"
        elif number % 4 == 2:
            yield IndicatorKind.URL, f"http://{digest[:24]}.example/{digest[24:32]}"
        else:
            yield IndicatorKind.IPV6, f"2001:{seed:x}:{digest[:4]}:{digest[4:8]}::{digest[8:12]}"


def no_value_of_many_is_missed_or_hit_by_chance(count: int) -> None:
    builder = IndexBuilder(a_release())
    told = a_provenance()
    for kind, value in many(count, seed=1):
        builder.add(kind, value, told)
    index = MappedIndex(builder.finish())

    missed = sum(not index.lookup(kind, value) for kind, value in many(count, seed=1))
    hit = sum(bool(index.lookup(kind, value)) for kind, value in many(count, seed=2))

    assert (missed, hit) == (0, 0)


def test_no_value_of_twenty_thousand_is_missed_or_hit_by_chance() -> None:
    no_value_of_many_is_missed_or_hit_by_chance(20_000)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_no_value_of_ten_million_is_missed_or_hit_by_chance() -> None:
    no_value_of_many_is_missed_or_hit_by_chance(10_000_000)
