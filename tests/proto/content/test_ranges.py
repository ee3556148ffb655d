"""The laws of address ranges."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content import ranges
from proto.content.addresses import Network
from proto.content.errors import ContentDamaged, ContentTooLarge
from proto.content.ranges import RangesV4, RangesV6, SetPool, SetTable, pack_v4, pack_v6, split


@st.composite
def networks(draw: st.DrawFn, version: int) -> tuple[Network, int]:
    bits = 32 if version == 4 else 128
    prefix = draw(st.integers(8, bits))
    corner = draw(st.sampled_from([0, 10 << bits - 8, (1 << bits) - 1, 0x7F << bits - 8]))
    first = (corner ^ draw(st.integers(0, 7)) << draw(st.integers(0, bits - 3))) % (1 << bits)
    first = first >> bits - prefix << bits - prefix
    return Network(version, first, prefix, draw(st.sampled_from([0, 80, 443]))), draw(
        st.integers(0, 3)
    )


def brute(found: set[tuple[Network, int]], number: int, port: int) -> set[tuple[int, int, int]]:
    return {
        (record, network.port, network.prefix)
        for network, record in found
        if network.first <= number <= network.last and network.port in {0, port}
    }


def probes(found: set[tuple[Network, int]], bits: int) -> set[int]:
    ends = {n.first for n, _ in found} | {n.last for n, _ in found}
    near = {end + step for end in ends for step in (-1, 0, 1)}
    return {number for number in near | {0} if 0 <= number < 1 << bits}


@given(found=st.sets(networks(4), max_size=12))
def test_an_ipv4_address_finds_exactly_the_networks_around_it(
    found: set[tuple[Network, int]],
) -> None:
    cut, pool = list(split(found)), SetPool()
    table = RangesV4(memoryview(pack_v4(cut, pool)), len(cut))
    data, count = pool.pack()
    sets = SetTable(memoryview(data), count)

    for number in probes(found, 32):
        place = table.find(number)
        entries = sets.get(place, 443) if place >= 0 else []
        assert set(entries) == brute(found, number, 443)


@given(found=st.sets(networks(6), max_size=12))
def test_an_ipv6_address_finds_exactly_the_networks_around_it(
    found: set[tuple[Network, int]],
) -> None:
    cut, pool = list(split(found)), SetPool()
    table = RangesV6(memoryview(pack_v6(cut, pool)), len(cut))
    data, count = pool.pack()
    sets = SetTable(memoryview(data), count)

    for number in probes(found, 128):
        place = table.find(number)
        entries = sets.get(place, 0) if place >= 0 else []
        assert set(entries) == brute(found, number, 0)


@given(found=st.sets(networks(4), max_size=12))
def test_ranges_are_in_order_and_never_overlap(found: set[tuple[Network, int]]) -> None:
    cut = list(split(found))

    assert all(part.first <= part.last for part in cut)
    assert all(a.last < b.first for a, b in pairwise(cut))


def test_neighbours_that_hold_the_same_are_one_range() -> None:
    singles = {(Network(4, 256 + number, 32), 1) for number in range(100)}

    assert [(part.first, part.last) for part in split(singles)] == [(256, 355)]


def test_a_list_of_single_addresses_shares_one_set() -> None:
    pool = SetPool()

    data = pack_v4(list(split({(Network(4, 2 * n, 32), 1) for n in range(1, 500)})), pool)

    assert len(data) == 12 * 499
    assert pool.pack()[1] == 1


def test_a_set_with_thousands_of_ports_answers_with_a_bounded_number() -> None:
    found = {(Network(4, 77, 32, 80), record) for record in range(5000)}
    cut, pool = list(split(found)), SetPool()
    pack_v4(cut, pool)
    data, count = pool.pack()

    assert len(SetTable(memoryview(data), count).get(0, 80)) == ranges.ROWS_MAX


def test_overlaps_that_multiply_are_refused_before_memory_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "SET_ENTRIES_MAX", 1000)
    wide = {(Network(4, 10 << 24, 8, port), 1) for port in range(1, 60)}
    cuts = {(Network(4, (10 << 24) + 2 * n, 32), n) for n in range(100)}

    with pytest.raises(ContentTooLarge):
        pack_v4(list(split(wide | cuts)), SetPool())


@given(data=st.binary(max_size=100), count=st.integers(0, 9), number=st.integers(0, 2**32 - 1))
def test_any_bytes_are_ranges_or_damage(data: bytes, count: int, number: int) -> None:
    for table in (RangesV4, RangesV6):
        try:
            assert table(memoryview(data), count).find(number) >= -1
        except ContentDamaged:
            continue


@given(
    data=st.binary(max_size=100), count=st.integers(0, 2**32 - 1), number=st.integers(0, 2**32 - 1)
)
def test_any_bytes_are_sets_or_damage(data: bytes, count: int, number: int) -> None:
    try:
        assert len(SetTable(memoryview(data), count).get(number, 443)) <= ranges.ROWS_MAX
    except ContentDamaged:
        return


def test_a_set_that_lies_outside_its_section_is_damage() -> None:
    cut, pool = list(split({(Network(4, 77, 32), 1)})), SetPool()
    pack_v4(cut, pool)
    data, count = pool.pack()

    with pytest.raises(ContentDamaged):
        SetTable(memoryview(data[:-8]), count).get(0, 1)
    with pytest.raises(ContentDamaged):
        SetTable(memoryview(data), count).get(1, 1)
