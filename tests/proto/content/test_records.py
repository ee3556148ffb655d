"""The laws of provenance records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content import records as records_module
from proto.content.errors import ContentDamaged, ContentTooLarge
from proto.content.records import NS_PER_HOUR, Provenance, RecordPool, RecordTable
from proto.model import Tlp
from tests.proto.content.builders import BUILT_AT, DAY_NS, a_provenance

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.none() | st.integers(1, 2**62)
PROVENANCES = st.builds(
    Provenance,
    feed=TEXT,
    family=TEXT,
    confidence=st.integers(0, 100),
    tlp=st.sampled_from(Tlp),
    first_seen=TIMES,
    expires=TIMES,
    attack=TEXT,
    warning=TEXT,
)


def a_table(pool: RecordPool) -> RecordTable:
    records, _ = pool.pack_records()
    strings, count = pool.pack_strings()
    return RecordTable(memoryview(records), memoryview(strings), count)


@given(provenances=st.lists(PROVENANCES, max_size=8))
def test_a_provenance_is_read_back_with_its_times_rounded(provenances: list[Provenance]) -> None:
    pool = RecordPool()
    ids = [pool.id_of(provenance) for provenance in provenances]

    table = a_table(pool)

    for number, given_one in zip(ids, provenances, strict=True):
        found = table.get(number)
        assert (found.feed, found.family, found.attack) == (
            given_one.feed,
            given_one.family,
            given_one.attack,
        )
        assert (found.confidence, found.tlp) == (given_one.confidence, given_one.tlp)
        assert found.warning == given_one.warning
        if given_one.expires is None:
            assert found.expires is None
        else:
            assert found.expires is not None
            assert 0 <= found.expires - given_one.expires < NS_PER_HOUR
        if found.first_seen is not None:
            assert given_one.first_seen is not None
            assert 0 <= given_one.first_seen - found.first_seen < DAY_NS


def test_an_indicator_that_expired_long_ago_does_not_become_eternal() -> None:
    pool = RecordPool()

    number = pool.id_of(a_provenance(expires=0))

    assert a_table(pool).get(number).expires == NS_PER_HOUR


def test_what_is_kept_alike_shares_a_record() -> None:
    pool = RecordPool()
    noon = BUILT_AT // DAY_NS * DAY_NS + 12 * NS_PER_HOUR

    ids = {pool.id_of(a_provenance(first_seen=noon + minute * 60 * 10**9)) for minute in range(60)}

    assert len(ids) == 1


def test_texts_are_kept_once() -> None:
    pool = RecordPool()
    for confidence in range(100):
        pool.id_of(a_provenance("the-only-feed", confidence=confidence))

    strings, _ = pool.pack_strings()

    assert strings.count(b"the-only-feed") == 1


@given(
    records=st.binary(max_size=28 * 3),
    strings=st.binary(max_size=60),
    count=st.integers(0, 2**32 - 1),
)
def test_any_bytes_are_records_or_damage(records: bytes, strings: bytes, count: int) -> None:
    try:
        table = RecordTable(memoryview(records), memoryview(strings), count)
    except ContentDamaged:
        return
    for number in range(len(table) + 1):
        try:
            assert isinstance(table.get(number), Provenance)
        except ContentDamaged:
            continue


def test_a_record_that_does_not_exist_is_damage() -> None:
    with pytest.raises(ContentDamaged):
        a_table(RecordPool()).get(0)


def test_a_table_of_many_records_keeps_a_bounded_number_in_memory() -> None:
    pool = RecordPool()
    ids = [pool.id_of(a_provenance(family=f"family {number}")) for number in range(9000)]
    table = a_table(pool)

    families = [table.get(number).family for number in ids]

    assert families == [f"family {number}" for number in range(9000)]
    assert len(table._cache) <= 4096  # noqa: SLF001  (memory has no other witness)


@pytest.mark.parametrize("limit", ["_RECORDS_MAX", "_STRINGS_BYTES_MAX"])
def test_more_than_ids_and_offsets_reach_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    pool = RecordPool()
    pool.id_of(a_provenance())
    monkeypatch.setattr(records_module, limit, 0)

    with pytest.raises(ContentTooLarge):
        a_table(pool)


@pytest.mark.parametrize(("place", "value"), [(24, 101), (25, 200)])
def test_an_impossible_value_in_a_record_is_damage(place: int, value: int) -> None:
    pool = RecordPool()
    number = pool.id_of(a_provenance())
    packed = bytearray(pool.pack_records()[0])
    packed[place] = value
    strings, count = pool.pack_strings()

    with pytest.raises(ContentDamaged):
        RecordTable(memoryview(packed), memoryview(strings), count).get(number)
