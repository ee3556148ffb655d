import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import SegmentDamaged
from agent.segments import ReadAt, SegmentId, encode_entry, find_next, read_frame, read_payload
from proto.model import Priority

HERE = SegmentId(7, Priority.LOW)


def at(data: bytes) -> ReadAt:
    return lambda offset, size: data[offset : offset + size]


def read_whole(data: bytes) -> bytes:
    entry = read_frame(HERE, 0, at(data))
    assert entry is not None
    return read_payload(entry, at(data))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6))
def test_entries_read_back_in_order_up_to_the_untouched_rest(payloads: list[bytes]) -> None:
    data = b""
    for seq, payload in enumerate(payloads):
        data += encode_entry(HERE, len(data), seq, payload)
    data += bytes(100)

    found, offset = [], 0
    while (entry := read_frame(HERE, offset, at(data))) is not None:
        found.append((entry.seq, read_payload(entry, at(data))))
        offset = entry.end

    assert found == list(enumerate(payloads))


@given(st.integers(0, 40), st.integers(0, 7))
def test_no_flipped_bit_passes(place: int, bit: int) -> None:
    raw = bytearray(encode_entry(HERE, 0, 3, b"sixteen bytes ok"))
    raw[place % len(raw)] ^= 1 << bit

    with pytest.raises(SegmentDamaged):
        read_whole(bytes(raw))


def test_an_entry_counts_only_where_it_was_written() -> None:
    raw = encode_entry(HERE, 0, 3, b"payload")

    with pytest.raises(SegmentDamaged):
        read_frame(SegmentId(8, Priority.LOW), 0, at(raw))
    with pytest.raises(SegmentDamaged):
        read_frame(HERE, 4, at(b"\0\0\0\0" + raw))
    with pytest.raises(SegmentDamaged):
        read_frame(HERE, 0, at(raw[:10]))
    assert find_next(HERE, 0, b"xx" + raw) is None


def test_the_next_entry_is_found_behind_damage() -> None:
    first = encode_entry(HERE, 0, 1, b"first")
    second = encode_entry(HERE, len(first), 2, b"second")
    data = b"VSE1" + bytes(len(first) - 4) + second

    assert find_next(HERE, 1, data) == len(first)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_entry_an_end_or_our_error(data: bytes) -> None:
    try:
        read_frame(HERE, 0, at(data))
    except SegmentDamaged:
        return


@pytest.mark.parametrize(
    "name",
    ["", "7.low.seg", "../0000000000000007.low.seg", "0000000000000007.max.seg", "x.low", "a.b.c"],
)
def test_only_the_one_spelling_is_a_segment(name: str) -> None:
    assert SegmentId.parse(str(HERE)) == HERE
    with pytest.raises(SegmentDamaged):
        SegmentId.parse(name)
