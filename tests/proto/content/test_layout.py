"""The laws of the frame of an index file."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content import layout as layout_module
from proto.content.errors import ContentDamaged, ContentError, ContentNewer, ContentTooLarge
from proto.content.layout import (
    FORMAT,
    SECTIONS_MAX,
    Section,
    check_sections,
    pack_layout,
    read_layout,
)
from tests.proto.content.builders import a_release

SECTIONS = (Section(1, 2, 3, 4, b"abc"), Section(5, 0, 0, 0, b""), Section(9, 0, 1, 0, b"d" * 8))


def a_frame() -> bytes:
    return pack_layout(a_release(), 42, SECTIONS)


def test_a_frame_gives_back_what_went_in() -> None:
    layout = read_layout(memoryview(a_frame()))

    assert layout.release == a_release()
    assert layout.count == 42
    assert [(s.type, s.code, s.count, s.parameter, bytes(s.data)) for s in layout.sections] == [
        (s.type, s.code, s.count, s.parameter, bytes(s.data)) for s in SECTIONS
    ]
    check_sections(layout)


def test_a_section_is_found_by_type_and_code() -> None:
    layout = read_layout(memoryview(a_frame()))

    found = layout.find(1, 2)

    assert found is not None
    assert bytes(found.data) == b"abc"
    assert layout.find(1) is None


def test_sections_lie_on_borders_of_eight_bytes() -> None:
    data = a_frame()

    layout = read_layout(memoryview(data))

    assert all(data.index(bytes(s.data)) % 8 == 0 for s in layout.sections if len(s.data))


def test_every_flipped_bit_of_header_and_table_is_noticed_at_opening() -> None:
    data = a_frame()
    table_end = 128 + 32 * len(SECTIONS)

    for place in range(table_end * 8):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(ContentError):
            read_layout(memoryview(changed))


def test_every_flipped_bit_of_a_section_is_noticed_by_the_check() -> None:
    data = a_frame()
    body = [data.index(b"abc"), data.index(b"abc") + 2, data.index(b"d" * 8)]

    for place in body:
        changed = bytearray(data)
        changed[place] ^= 1
        layout = read_layout(memoryview(changed))
        with pytest.raises(ContentDamaged):
            check_sections(layout)


def test_a_file_cut_or_padded_anywhere_is_refused() -> None:
    data = a_frame()

    for size in range(len(data)):
        with pytest.raises(ContentDamaged):
            read_layout(memoryview(data[:size]))
    with pytest.raises(ContentDamaged):
        read_layout(memoryview(data + b"\0"))


def test_a_later_format_is_named_as_such() -> None:
    changed = bytearray(a_frame())
    changed[8] = FORMAT + 1

    with pytest.raises(ContentNewer):
        read_layout(memoryview(changed))


def test_more_sections_than_the_format_holds_are_refused() -> None:
    with pytest.raises(ContentTooLarge):
        pack_layout(a_release(), 0, [SECTIONS[0]] * (SECTIONS_MAX + 1))


@given(data=st.binary(max_size=400))
def test_any_bytes_are_a_frame_or_a_content_error(data: bytes) -> None:
    with pytest.raises(ContentError):
        read_layout(memoryview(b"VDXINDEX" + data))


def test_a_file_above_its_bound_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_module, "FILE_BYTES_MAX", 100)

    with pytest.raises(ContentTooLarge):
        a_frame()


def test_a_machine_of_the_other_byte_order_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = a_frame()
    monkeypatch.setattr(sys, "byteorder", "big")

    with pytest.raises(ContentNewer, match="little-endian"):
        read_layout(memoryview(data))
