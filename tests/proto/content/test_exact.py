"""The laws of exact tables."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content import exact
from proto.content.errors import ContentDamaged, ContentTooLarge
from proto.content.exact import ExactPool, ExactTable, digest_fingerprint, text_fingerprint

U32 = st.integers(0, 2**32 - 1)
ENTRIES = st.sets(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 7), U32, U32))


def packed(entries: set[tuple[int, int, int]]) -> tuple[bytes, int]:
    pool = ExactPool()
    for key, check, record in entries:
        pool.add(key.to_bytes(8) + check.to_bytes(4), record)
    data, count, bits = pool.pack()
    assert count == len(entries)
    return data, bits


def a_table(entries: set[tuple[int, int, int]]) -> ExactTable:
    data, bits = packed(entries)
    return ExactTable(memoryview(data), len(entries), bits)


def test_the_same_entry_twice_counts_once_and_order_makes_no_difference() -> None:
    one, other = ExactPool(), ExactPool()
    for pool, order in ((one, (1, 2, 1)), (other, (2, 1))):
        for number in order:
            pool.add(bytes([number]) * 12, number)

    assert one.pack() == other.pack()


@given(entries=ENTRIES)
def test_every_fingerprint_that_went_in_is_found_with_all_its_records(
    entries: set[tuple[int, int, int]],
) -> None:
    table = a_table(entries)

    for key, check, _ in entries:
        expected = {record for k, c, record in entries if (k, c) == (key, check)}
        assert set(table.find(key, check)) == expected


@given(entries=ENTRIES, key=st.integers(0, 2**64 - 1), check=U32)
def test_a_fingerprint_that_did_not_go_in_is_not_found(
    entries: set[tuple[int, int, int]], key: int, check: int
) -> None:
    if any((k, c) == (key, check) for k, c, _ in entries):
        return

    assert not a_table(entries).find(key, check)


def test_the_same_first_eight_bytes_are_no_hit() -> None:
    digest = sha256(b"listed").digest()
    crafted = digest[:8] + bytes(24)
    table = a_table({(*digest_fingerprint(digest), 5)})

    assert list(table.find(*digest_fingerprint(digest))) == [5]
    assert not table.find(*digest_fingerprint(crafted))


def test_a_text_has_another_fingerprint_under_another_salt() -> None:
    assert text_fingerprint("xmrig", b"a" * 16) != text_fingerprint("xmrig", b"b" * 16)


def test_a_text_that_no_file_system_can_encode_has_a_fingerprint_too() -> None:
    assert text_fingerprint("\udcff", bytes(16))


def test_one_indicator_costs_sixteen_bytes_and_a_share_of_the_radix() -> None:
    entries = {(*digest_fingerprint(sha256(b"%d" % i).digest()), 0) for i in range(20_000)}

    data, _ = packed(entries)

    assert len(data) / len(entries) <= 16.5


@given(entries=ENTRIES, count=st.integers(0, 40), bits=st.integers(0, 70))
def test_numbers_that_do_not_fit_the_size_are_refused(
    entries: set[tuple[int, int, int]], count: int, bits: int
) -> None:
    data, true_bits = packed(entries)
    if count == len(entries) and 1 << bits == 1 << true_bits:
        return

    try:
        table = ExactTable(memoryview(data), count, bits)
    except ContentDamaged:
        return
    with_other_numbers(table)


def with_other_numbers(table: ExactTable) -> None:
    """A wrong reading that happens to fit the size answers something or says it is damaged."""
    for key in (0, 2**63, 2**64 - 1):
        try:
            table.find(key, 0)
        except ContentDamaged:
            continue


def test_a_radix_that_points_outside_is_damage_and_not_an_index_error() -> None:
    data, bits = packed({(1, 2, 3)})
    table = ExactTable(memoryview(bytes(4) + b"\xff" * 4 + data[8:]), 1, bits)

    with pytest.raises(ContentDamaged):
        table.find(2, 2)


def test_more_entries_than_ids_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "ENTRIES_MAX", 1)

    with pytest.raises(ContentTooLarge):
        packed({(1, 2, 3), (4, 5, 6)})
