"""Entries come out of the export format whole, however it is cut into reads, in bounded memory."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.journalexport import (
    DATA_BYTES_MAX,
    FIELD_BYTES_MAX,
    FIELDS_MAX,
    Entry,
    ExportParser,
    JournalError,
)
from tests.fakes.journal import exported

NAMES = ("MESSAGE", "_UID", "X_1")


def parsed(data: bytes, *, cap: int = FIELD_BYTES_MAX) -> list[Entry]:
    return list(ExportParser(NAMES, cap).feed(data))


def test_text_and_binary_fields_are_read() -> None:
    data = b"MESSAGE=one=1\n_UID=0\n\nMESSAGE\n" + struct.pack("<Q", 7) + b"a\nb\0\n\xff\n\n\n"

    assert parsed(data) == [
        Entry({"MESSAGE": b"one=1", "_UID": b"0"}),
        Entry({"MESSAGE": b"a\nb\0\n\xff\n"}),
    ]


def test_fields_that_nobody_asked_for_are_passed_over() -> None:
    data = exported({"OTHER": b"x" * 99, "MESSAGE": b"m"}, binary=True) + exported({"OTHER": b"x"})

    assert parsed(data) == [Entry({"MESSAGE": b"m"})]


@pytest.mark.parametrize("binary", [True, False])
def test_a_field_over_the_cap_is_cut_and_costs_no_memory(*, binary: bool) -> None:
    parser = ExportParser(NAMES, 100)
    whole = exported({"MESSAGE": b"x" * 500_000, "_UID": b"0"}, binary=binary)
    found: list[Entry] = []
    for at in range(0, len(whole), 1000):
        found += parser.feed(whole[at : at + 1000])
        assert parser.kept_bytes <= 1200

    assert found == [Entry({"MESSAGE": b"x" * 100, "_UID": b"0"}, 1)]


def test_a_field_at_the_cap_is_whole() -> None:
    for binary in (True, False):
        data = exported({"MESSAGE": b"x" * 100}, binary=binary)
        assert parsed(data, cap=100) == [Entry({"MESSAGE": b"x" * 100})]


@pytest.mark.parametrize(
    "data",
    [
        b"lower=x\n",
        b"=x\n",
        b"A" * 65 + b"=x\n",
        b"MESSAGE\n" + struct.pack("<Q", DATA_BYTES_MAX + 1),
        b"MESSAGE\n" + struct.pack("<Q", 1) + b"ab\n",
        b"MESSAGE=x\n" * (FIELDS_MAX + 1),
        b"no name " + b"x" * FIELD_BYTES_MAX * 2,
    ],
)
def test_what_is_no_export_format_is_refused(data: bytes) -> None:
    with pytest.raises(JournalError):
        parsed(data)


ENTRIES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=40), min_size=1), st.booleans()
    ),
    max_size=6,
)


@given(ENTRIES, st.lists(st.integers(0, 400), max_size=12))
def test_however_it_is_cut_every_entry_comes_once(
    entries: list[tuple[dict[str, bytes], bool]], cuts: list[int]
) -> None:
    whole = b"".join(exported(fields, binary=binary) for fields, binary in entries)
    places = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    parser = ExportParser(NAMES)

    found = [
        entry
        for begin, end in itertools.pairwise(places)
        for entry in parser.feed(whole[begin:end])
    ]

    assert found == [Entry(fields) for fields, _ in entries]


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_entries_or_refused(pieces: list[bytes]) -> None:
    parser = ExportParser(NAMES, 20)
    try:
        for piece in pieces:
            assert all(isinstance(entry, Entry) for entry in parser.feed(piece))
    except JournalError:
        pass
